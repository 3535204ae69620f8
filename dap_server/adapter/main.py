"""Starting the adapter: on standard input and output, or as a server for one session after another."""

from __future__ import annotations

import os
import sys
from typing import BinaryIO

from dap_server.adapter.requests import requests
from dap_server.adapter.session import AdapterSession
from dap_server.wire.loopback import LOOPBACK, Streams


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


def serve_tcp(host: str | None, port: int) -> int:
    """Sessions one after another, until interrupted. Prints the address and the token that `launch` has to show."""
    from dap_server.adapter.server import Server
    from dap_server.adapter.tokens import stored_token
    from dap_server.wire.loopback import listen

    try:
        listener = listen(host or LOOPBACK, port)
    except OSError as error:
        print(f"llm-dap: cannot listen on {host or LOOPBACK}:{port}: {error.strerror}", file=sys.stderr)
        return 1
    address, bound = listener.getsockname()[:2]
    try:
        with listener, stored_token(bound) as token, Server(listener, token) as server:
            print(f"llm-dap adapter listens on {address}:{bound} with the token {token}", flush=True)
            server.run()
    except PermissionError as error:
        print(f"llm-dap: the token cannot be stored: {error}", file=sys.stderr)
        return 1
    return 0
