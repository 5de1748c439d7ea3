"""Generators and discriminators: one file a paper idea. Networks import only networks."""
