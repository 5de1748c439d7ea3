"""Files that are written whole or not at all, locks, memory that processes share."""
