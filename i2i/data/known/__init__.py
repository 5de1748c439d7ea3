"""The classic data sets: where they come from, and how they are laid out."""
