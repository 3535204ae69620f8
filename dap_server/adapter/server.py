"""An adapter that listens: a session for every connection, until a signal ends it."""

from __future__ import annotations

import select
import signal
import socket
import sys
import threading
from types import TracebackType
from typing import Self

from dap_server.adapter.requests import requests
from dap_server.adapter.session import GRACE_SECONDS, AdapterSession
from dap_server.wire.loopback import LOOPBACK, listen, same_token, streams
from dap_server.wire.tokens import stored_token


def serve_tcp(host: str | None, port: int) -> int:
    """A session for whoever connects, until interrupted. Prints the address and the token that `launch` has to show."""
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
    """Waits for connections on the main thread; each has a session, with a dispatcher of its own.

    A signal that comes just before a wait is not seen by it, which is why signals also wake through a socket.
    """

    def __init__(self, listener: socket.socket, token: str) -> None:
        self._listener, self._token = listener, token
        self._sessions: dict[AdapterSession, threading.Thread] = {}
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
        self._end_sessions()
        signal.set_wakeup_fd(-1)
        self._wakes.close()
        self._waker.close()

    def run(self) -> None:
        """Until SIGINT or SIGTERM, which also ends the sessions."""
        while not self._is_ending:
            ready, _, _ = select.select([self._listener, self._wakes], [], [])
            if self._listener in ready and not self._is_ending:
                connection, _ = self._listener.accept()
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        self._sessions = {session: thread for session, thread in self._sessions.items() if thread.is_alive()}
        session = AdapterSession(streams(connection), requests, self._is_token)
        thread = self._sessions[session] = threading.Thread(target=session.run, name="session")
        thread.start()

    def _end_sessions(self) -> None:
        for session in self._sessions:
            session.post(session.close)
        for session, thread in self._sessions.items():
            thread.join(GRACE_SECONDS)
            if thread.is_alive():  # it writes to a client that does not read
                session.client.close()
                thread.join()

    def _is_token(self, shown: str) -> bool:
        return same_token(shown, self._token)

    def _end(self, *_: object) -> None:
        self._is_ending = True
