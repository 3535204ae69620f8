"""Gradients of what a model says, and what each token bears on it."""
