"""The values that the names of a condition have at a place."""
