"""Starting the language server on standard input and output."""

from __future__ import annotations

import logging
import os
import sys

from dap_server.language.server import make_server


def serve_stdio() -> int:
    """Until the client says `exit` or closes our input. The exit status is the one that the protocol asks for."""
    reader = os.fdopen(os.dup(0), "rb")
    writer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what is printed by mistake must not stand between messages
    sys.stdout = sys.stderr
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    logging.getLogger("pygls").setLevel(logging.CRITICAL)  # what goes wrong is told to the client
    server = make_server()
    server.start_io(reader, writer)
    return 0 if server.was_shut_down else 1
