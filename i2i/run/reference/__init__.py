"""What components say about themselves, for editors and readers."""
