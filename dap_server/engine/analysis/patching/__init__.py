"""Values from elsewhere that a patch puts in: of another prompt, another step, the rest of the text."""
