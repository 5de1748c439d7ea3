"""Faster convolutions for CPUs; nothing else needs to know of them."""
