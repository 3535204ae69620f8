"""Sockets on this machine, guarded by a token that the connecting side sends before anything else."""

from __future__ import annotations

import hmac
import secrets
import socket
from typing import BinaryIO, NamedTuple

LOOPBACK = "127.0.0.1"
TOKEN_HEX_DIGITS = 64
HANDSHAKE_SECONDS = 10.0


class Streams(NamedTuple):
    """Both directions of a connection, and how to end it from another thread."""

    reader: BinaryIO
    writer: BinaryIO
    socket: socket.socket | None = None

    def close(self) -> None:
        """Ends both directions; a thread blocked in `reader` returns."""
        if self.socket is not None:
            try:
                self.socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the peer was faster
            self.socket.close()
            return
        for stream in (self.writer, self.reader):
            try:
                stream.close()
            except (OSError, ValueError):
                pass


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


def streams(connection: socket.socket) -> Streams:
    """The two byte streams of a connected socket, without Nagle's delay."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(None)
    return Streams(connection.makefile("rb"), connection.makefile("wb"), connection)


def connect(port: int, token: str, host: str = LOOPBACK) -> Streams:
    """Connects and shows the token."""
    connection = socket.create_connection((host, port), timeout=HANDSHAKE_SECONDS)
    connection.sendall(token.encode())
    return streams(connection)


def accept(listener: socket.socket, token: str) -> Streams:
    """Waits for a peer that shows the token; others are dropped without an answer.

    Raises:
        OSError: the listener was closed.
    """
    while True:
        connection, _ = listener.accept()
        if same_token(_received_token(connection), token):
            return streams(connection)
        connection.close()


def _received_token(connection: socket.socket) -> str:
    connection.settimeout(HANDSHAKE_SECONDS)
    received = b""
    try:
        while len(received) < TOKEN_HEX_DIGITS:
            piece = connection.recv(TOKEN_HEX_DIGITS - len(received))
            if not piece:
                break
            received += piece
    except OSError:
        pass
    return received.decode("ascii", "replace")
