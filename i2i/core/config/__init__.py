"""From YAML to checked nodes, and from a node to an object."""
