"""An adapter that listens: one session after another, until a signal ends it."""

from __future__ import annotations

import select
import signal
import socket
import sys
from types import TracebackType
from typing import Self

from dap_server.adapter.requests import requests
from dap_server.adapter.session import AdapterSession
from dap_server.wire.loopback import LOOPBACK, listen, same_token, streams
from dap_server.wire.tokens import stored_token


def serve_tcp(host: str | None, port: int) -> int:
    """Sessions one after another, until interrupted. Prints the address and the token that `launch` has to show."""
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


class Server:
    """Serves on the main thread.

    A signal that comes just before a wait is not seen by it, which is why signals also wake through a socket.
    """

    def __init__(self, listener: socket.socket, token: str) -> None:
        self._listener, self._token = listener, token
        self._session: AdapterSession | None = None
        self._is_ending = False
        self._wakes, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    def __enter__(self) -> Self:
        signal.set_wakeup_fd(self._waker.fileno())
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        self._wakes.close()
        self._waker.close()

    def run(self) -> None:
        """Until SIGINT or SIGTERM, which also ends the present session."""
        while not self._is_ending:
            ready, _, _ = select.select([self._listener, self._wakes], [], [])
            if self._listener in ready and not self._is_ending:
                connection, _ = self._listener.accept()
                self._session = AdapterSession(streams(connection), requests, self._is_token)
                if not self._is_ending:
                    self._session.run()

    def _is_token(self, shown: str) -> bool:
        return same_token(shown, self._token)

    def _end(self, *_: object) -> None:
        self._is_ending = True
        if self._session is not None:
            self._session.post(self._session.close)
