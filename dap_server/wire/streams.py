"""Both directions of a connection, whatever it is made of."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO


class Streams:
    """Two pipes, or what behaves like them."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self.reader, self.writer = reader, writer

    def close(self) -> None:
        """Any thread: closes the writer. Whoever is blocked in the reader holds its lock until the peer closes."""
        with suppress(OSError, ValueError):
            self.writer.close()

    def forsake(self) -> None:
        """In a child that was forked: closes its copies, and leaves the conversation to its parent."""
        for end in (self.writer, self.reader):
            with suppress(OSError, ValueError):
                os.close(end.fileno())
