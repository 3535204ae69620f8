"""`Content-Length` framing of messages over any two byte streams. Knows no message."""

from __future__ import annotations

import threading
from typing import BinaryIO

MAX_HEADER_BYTES = 4096
MAX_BODY_BYTES = 256 * 1024 * 1024


class FramingError(Exception):
    """The bytes cannot be cut into messages any more; the stream has to be closed."""


class MessageReader:
    """Reads one message body at a time. Used by one thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self) -> bytes | None:
        """The next body, or None at the end of the stream.

        Raises:
            FramingError: a header that is too long or says no length, or a stream that ends inside a message.
        """
        length = self._read_header()
        if length is None:
            return None
        body = self._stream.read(length)
        if len(body) < length:
            raise FramingError(f"the stream ended {length - len(body)} bytes before the end of a message")
        return body

    def _read_header(self) -> int | None:
        length: int | None = None
        total = 0
        while True:
            line = self._stream.readline(MAX_HEADER_BYTES - total + 1)
            total += len(line)
            if not line and total == 0:
                return None
            if total > MAX_HEADER_BYTES:
                raise FramingError(f"a header of more than {MAX_HEADER_BYTES} bytes")
            if not line.endswith(b"\n"):
                raise FramingError("the stream ended inside a header")
            field = line.strip()
            if not field:
                if length is None:
                    raise FramingError("a header without Content-Length")
                return length
            name, _, value = field.partition(b":")
            if name.strip().lower() == b"content-length":
                if length is not None:
                    raise FramingError("a header with two lengths")
                length = _length(value.strip())


class MessageWriter:
    """Writes whole messages: one write each, so that no message waits for the acknowledgement of its header."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, body: bytes) -> None:
        """Raises OSError or ValueError when the stream is closed."""
        with self._lock:
            self._stream.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
            self._stream.flush()


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise FramingError(f"Content-Length is not a number: {value[:40]!r}")
    if len(value) > 20 or int(value) > MAX_BODY_BYTES:
        raise FramingError(f"a message of {value[:40].decode()} bytes; the limit is {MAX_BODY_BYTES}")
    return int(value)
