"""Data sets in tar files, local or remote, read in an order that can be resumed."""
