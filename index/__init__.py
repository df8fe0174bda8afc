"""Everything that knows product vectors."""
