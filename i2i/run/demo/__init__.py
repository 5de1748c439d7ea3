"""The judges of the demo: what a person would look for in the translations."""
