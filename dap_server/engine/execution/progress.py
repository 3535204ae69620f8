"""How far something is that takes long. What is quick says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

QUIET_SECONDS = 1.0
"""What takes less is never told."""
SECONDS_BETWEEN = 0.25


class Progress:
    """Of one model thread, which does one long thing at a time."""

    def __init__(self) -> None:
        self.tell: Callable[[str | None, float], None] = lambda _title, _percentage: None
        """Called with a title and a percentage, and with None at the end of what was told of."""
        self._title: str | None = None
        self._is_told = False
        self._due = self._fraction = 0.0
        self._part = (0.0, 1.0)

    def begins(self, title: str) -> None:
        self._title, self._is_told = title, False
        self._due, self._fraction = time.monotonic() + QUIET_SECONDS, 0.0
        self._part = (0.0, 1.0)

    def called(self, title: str) -> None:
        """A better title, if nothing has been told yet."""
        if self._title is not None and not self._is_told:
            self._title = title

    def ends(self) -> None:
        if self._is_told:
            self.tell(None, 100.0)
        self._title, self._is_told = None, False

    def reached(self, done: int, total: int) -> None:
        """So much of it, or of the present part of it, is done. It never goes back."""
        first, last = self._part
        if total > 0:
            self._fraction = max(self._fraction, first + (last - first) * min(done / total, 1.0))
        self.goes_on()

    def goes_on(self) -> None:
        """It is still at it. Called often."""
        if self._title is None:
            return
        now = time.monotonic()
        if now >= self._due:
            self._due, self._is_told = now + SECONDS_BETWEEN, True
            self.tell(self._title, 100.0 * self._fraction)

    @contextmanager
    def part(self, index: int, count: int) -> Iterator[None]:
        """What is reached meanwhile is reached of this part of the whole."""
        whole = first, last = self._part
        width = (last - first) / count
        self._part = (first + index * width, first + (index + 1) * width)
        try:
            yield
        finally:
            self._part = whole
