"""The residual stream, and what a model would say from any place of it."""
