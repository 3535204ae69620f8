"""A socket whose peer sends a message in two writes, and waits for the first to be acknowledged, as debugpy does."""

from __future__ import annotations

import io
import socket
from typing import Any

from dap_server.wire.loopback import SocketStreams, streams


def quick_streams(connection: socket.socket) -> SocketStreams:
    """Those of a connected socket that acknowledges at once: 0.5 ms a round trip, where it would be 44 ms."""
    quick = streams(connection)
    if hasattr(socket, "TCP_QUICKACK"):
        quick.reader = io.BufferedReader(_Acknowledging(connection))
    return quick


class _Acknowledging(io.RawIOBase):
    """Linux forgets with every read that it should acknowledge at once."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return self._connection.recv_into(buffer)
