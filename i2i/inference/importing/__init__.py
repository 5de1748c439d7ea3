"""Checkpoints of other projects as bundles: read the files, recognise the networks, put the bundle together."""
