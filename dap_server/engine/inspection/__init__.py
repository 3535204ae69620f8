"""What can be seen at a stop: frames, scopes, variables, tensors. Knows no DAP."""
