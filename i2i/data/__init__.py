"""Datasets: listing and checking files, pairing, augmentation."""
