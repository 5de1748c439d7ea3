"""Losses. They import no network: backbones are handed in."""
