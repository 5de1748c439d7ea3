"""Geometry and colour, drawn anew for each item."""
