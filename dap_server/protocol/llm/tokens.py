"""A token, as all own messages carry it."""

from __future__ import annotations

from dap_server.protocol.messages import Struct


class Token(Struct):
    """What a model reads or says; of a classifier a label."""

    id: int
    text: str
    """What it adds to the text, not quoted; special tokens by their name."""
