"""What a model keeps of earlier tokens."""
