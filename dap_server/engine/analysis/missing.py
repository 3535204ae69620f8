"""What a condition asks for and nobody knows."""

from __future__ import annotations


class NotKnown(LookupError):
    """A name has no value at this place; the text says where it has one."""
