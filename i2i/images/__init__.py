"""Bytes to arrays to tensors and back: the only place where a range of values changes."""
