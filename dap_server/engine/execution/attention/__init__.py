"""Calls of attention where they pass: heard, and changed."""
