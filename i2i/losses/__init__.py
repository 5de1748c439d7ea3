"""Losses. They import no network of this package; backbones are timm's."""
