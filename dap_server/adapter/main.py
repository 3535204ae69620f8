"""Starting the adapter on standard input and output."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from dap_server.adapter.requests import requests
from dap_server.adapter.session import AdapterSession
from dap_server.wire.streams import Streams


def serve_stdio() -> int:
    """One session with our parent process."""
    AdapterSession(_standard_streams(), requests).run()
    return 0


def _standard_streams() -> Streams:
    """The streams of the protocol. What is printed by mistake goes to standard error instead of between messages."""
    reader: BinaryIO = os.fdopen(os.dup(0), "rb")
    writer: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return Streams(reader, writer)
