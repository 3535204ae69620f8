"""Sockets on this machine, guarded by a token that the connecting side sends before anything else."""

from __future__ import annotations

import hmac
import os
import secrets
import selectors
import socket
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from typing import BinaryIO

from dap_server.wire.streams import Streams

LOOPBACK = "127.0.0.1"
TOKEN_HEX_DIGITS = 64
HANDSHAKE_SECONDS = 10.0
"""How long somebody who connects may take to show the token."""

_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.DefaultSelector)
"""`select` takes no descriptor above 1023, and `epoll` never wakes for a socket that another thread has closed."""


class SocketStreams(Streams):
    """The two byte streams of a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection.makefile("rb"), _writer(connection))
        self.socket = connection

    def close(self) -> None:
        """Any thread: ends both directions, and a thread that is blocked in the reader returns."""
        with suppress(OSError):  # the peer was faster
            self.socket.shutdown(socket.SHUT_RDWR)
        for end in (self.writer, self.reader, self.socket):
            with suppress(OSError, ValueError):
                end.close()

    def forsake(self) -> None:
        with suppress(OSError):
            os.close(self.socket.detach())


def _writer(connection: socket.socket) -> BinaryIO:
    """Writes to a socket.

    A signal's exception may come up in the thread that writes. The writer of `makefile` is Python between what is sent
    and the note that it was, and would send it again.
    """
    if sys.platform == "win32":
        return connection.makefile("wb")
    return open(connection.fileno(), "wb", closefd=False)


def new_token() -> str:
    return secrets.token_hex(TOKEN_HEX_DIGITS // 2)


def same_token(given: str, expected: str) -> bool:
    """Compares in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def listen(host: str = LOOPBACK, port: int = 0) -> socket.socket:
    """A listening socket; port 0 picks a free one.

    Raises:
        OSError: the address cannot be had.
    """
    return socket.create_server((host, port))


def streams(connection: socket.socket) -> SocketStreams:
    """Those of a connected socket, without Nagle's delay."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    return SocketStreams(connection)


def connect(port: int, token: str, host: str = LOOPBACK) -> SocketStreams:
    """Connects and shows the token."""
    connection = socket.create_connection((host, port), timeout=HANDSHAKE_SECONDS)
    connection.sendall(token.encode())
    return streams(connection)


def accept(listener: socket.socket, token: str) -> SocketStreams:
    """Waits for a peer that shows the token; others are dropped without an answer, and delay nobody.

    Raises:
        OSError: the listener was closed.
    """
    with closing(visitors(listener, [token])) as those:
        return next(those)[1]


def visitors(listener: socket.socket, tokens: Sequence[str]) -> Generator[tuple[str, SocketStreams], None, None]:
    """Those who show one of the tokens, as they come, each with the token that it has shown.

    Raises:
        OSError: the listener was closed.
    """
    guests: list[_Guest] = []
    try:
        with _Selector() as waiting:
            waiting.register(listener, selectors.EVENT_READ)
            while True:
                ready = [key.fileobj for key, _ in waiting.select(HANDSHAKE_SECONDS if guests else None)]
                for guest in [guest for guest in guests if guest.is_late() or (guest in ready and guest.read())]:
                    guests.remove(guest)
                    waiting.unregister(guest)
                    shown = next((token for token in tokens if same_token(guest.shown, token)), None)
                    if shown is None:
                        guest.connection.close()
                    else:
                        yield shown, streams(guest.connection)
                if listener in ready:
                    guests.append(_Guest(listener.accept()[0]))
                    waiting.register(guests[-1], selectors.EVENT_READ)
    except ValueError as error:  # a socket that another thread has closed has no number any more
        raise OSError("the listener was closed") from error
    finally:
        for guest in guests:
            guest.connection.close()


class _Guest:
    """Somebody who has connected and not shown a whole token yet."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection = connection
        self._shown = b""
        self._deadline = time.monotonic() + HANDSHAKE_SECONDS

    def fileno(self) -> int:
        return self.connection.fileno()

    @property
    def shown(self) -> str:
        return self._shown.decode("ascii", "replace")

    def read(self) -> bool:
        """Takes what has come. Says whether that was all: a token's length, or the end."""
        try:
            piece = self.connection.recv(TOKEN_HEX_DIGITS - len(self._shown))
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._shown += piece
        return not piece or len(self._shown) == TOKEN_HEX_DIGITS

    def is_late(self) -> bool:
        return time.monotonic() > self._deadline
