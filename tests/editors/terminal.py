"""A program in a terminal of its own: keys go in, and what is on its screen is read."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

TIMEOUT = 60.0
"""Of every wait, in seconds."""
_COLOUR = re.compile(rb"\x1b\[[0-9;:]*m")
_MOVE = re.compile(rb"\x1b\[[0-9;:?]*[A-Za-z]")

_FOCUS = "\x1b[I"
"""Tells that the window has the focus, which changes nothing. Who is told of a resize may leave keys unread that came
with it, until there are more."""
QUIET = 1.0
"""Seconds after which a program that draws nothing is told so, whoever waits, since it may have left keys unread."""


class Terminal:
    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._keys, screen = pty.openpty()
        self._height = 40
        self._resize()
        self.process = subprocess.Popen(
            command,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(screen)
        self._drawn = b""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.process.kill()
        self.process.wait(TIMEOUT)
        os.close(self._keys)
        self._reader.join(TIMEOUT)

    def type(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def sees(self, text: str) -> None:
        """Waits until the words of `text` are on the screen, which is drawn anew for it as often as needed."""
        wanted = " ".join(text.split())
        deadline = time.monotonic() + TIMEOUT
        with self._news:
            while True:
                self._drawn = b""
                self._height = 81 - self._height
                self._resize()
                self._news.wait_for(lambda: self._drawn, timeout=2)
                self.type(_FOCUS)
                if self._news.wait_for(lambda: wanted in self._words(), timeout=2):
                    return
                assert time.monotonic() < deadline, f"not on the screen: {text}\n{self._words()}"

    def _words(self) -> str:
        """What has been drawn, without colours; the cursor's moves are blanks."""
        return " ".join(_MOVE.sub(b" ", _COLOUR.sub(b"", self._drawn)).decode(errors="replace").split())

    def _resize(self) -> None:
        """Between 40 and 41 lines: at every change the program draws everything."""
        fcntl.ioctl(self._keys, termios.TIOCSWINSZ, struct.pack("HHHH", self._height, 150, 0, 0))

    def _read(self) -> None:
        try:
            while True:
                if not select.select([self._keys], [], [], QUIET)[0]:
                    self.type(_FOCUS)
                elif data := os.read(self._keys, 65536):
                    with self._news:
                        self._drawn += data
                        self._news.notify_all()
                else:
                    return
        except OSError:
            pass  # the program has ended


def _take_terminal() -> None:
    """Makes standard input the terminal that tells this process of a resize."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
