"""Which experts a mixture uses."""
