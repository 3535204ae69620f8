"""Whose turn it is: one call at a time, since replays and stops of one use the modules that another would."""

from __future__ import annotations

import threading
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds that a call waits for one of another model that runs: that one may in its turn wait for this thread."""
_LOOKS = 0.5


class Turns:
    """Threads take their turns. No thread waits for itself."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holder: int | None = None

    @property
    def holder(self) -> int | None:
        """The thread whose turn it is."""
        return self._holder

    def take(self, is_wanted: Callable[[], bool], has_to_wait: Callable[[], bool]) -> bool:
        """Waits until it is this thread's turn. False: it is not wanted any more, or nobody knows when it will be.

        `has_to_wait`: whether the one who has it now may take as long as it likes.
        """
        waited = 0.0
        with self._changed:
            while self._holder is not None and is_wanted() and waited < PATIENCE:
                self._changed.wait(_LOOKS)
                waited = 0.0 if has_to_wait() else waited + _LOOKS
            if self._holder is not None or not is_wanted():
                return False
            self._holder = threading.get_ident()
            return True

    def give(self) -> None:
        """The turn of this thread is over."""
        with self._changed:
            self._holder = None
            self._changed.notify_all()

    def wake(self) -> None:
        """Those who wait ask again whether they are to."""
        with self._changed:
            self._changed.notify_all()
