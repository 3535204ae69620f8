"""What a model is made of: modules, transformer layers, tokens."""
