"""Conditions whose answer can wait: which they are, and the code that leaves it on the device."""
