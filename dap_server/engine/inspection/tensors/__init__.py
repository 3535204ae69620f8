"""What the elements of a tensor are: read, counted, named and written, in memory that does not grow with it."""
