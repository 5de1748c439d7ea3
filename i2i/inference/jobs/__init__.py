"""Folders of images, translated once and whole, whatever happens meanwhile."""
