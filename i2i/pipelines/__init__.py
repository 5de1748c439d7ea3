"""Objectives: one file a paper."""
