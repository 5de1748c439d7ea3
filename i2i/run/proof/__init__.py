"""Proofs about a user's own configuration, by trying: that a run which was killed ends like one that was not."""
