"""Trained models at work: one image, folders of images."""
