"""Starting the adapter: on standard input and output, or as a server for one session after another."""

from __future__ import annotations

import os
import socket
import sys
from typing import BinaryIO, NoReturn

from dap_server.adapter.requests import requests
from dap_server.adapter.session import AdapterSession
from dap_server.wire.loopback import LOOPBACK, Streams, streams


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
    import signal

    from dap_server.adapter.tokens import stored_token
    from dap_server.wire.loopback import listen

    try:
        listener = listen(host or LOOPBACK, port)
    except OSError as error:
        print(f"llm-dap: cannot listen on {host or LOOPBACK}:{port}: {error.strerror}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the token file goes either way
    address, bound = listener.getsockname()[:2]
    try:
        with listener, stored_token(bound) as token:
            print(f"llm-dap adapter listens on {address}:{bound} with the token {token}", flush=True)
            _serve(listener, token)
    except PermissionError as error:
        print(f"llm-dap: the token cannot be stored: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _serve(listener: socket.socket, token: str) -> NoReturn:
    while True:
        connection, _ = listener.accept()
        AdapterSession(streams(connection), requests, token).run()
