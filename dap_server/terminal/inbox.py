"""Events that have come and not been looked at yet, in their order; every wait for one ends."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Container
from typing import Any, NamedTuple, TypeVar

from dap_server.wire.reply import Reply

T = TypeVar("T")


class Arrival(NamedTuple):
    """An event by its name, with its decoded body; the body is None where the event has none."""

    event: str
    body: Any


class Inbox:
    """Threads: the connection's reader thread puts and closes; whoever wants events takes them, from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self._failure: BaseException | None = None
        self.is_closed = False
        self.reason: str | None = None
        """Why the connection ended, when that was not an orderly end."""

    @property
    def has_news(self) -> bool:
        return bool(self._waiting)

    def put(self, arrival: Arrival) -> None:
        with self._changed:
            self._waiting.append(arrival)
            self._changed.notify_all()

    def close(self, reason: str | None) -> None:
        with self._changed:
            self.is_closed, self.reason = True, reason
            self._changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """What went wrong on the reader thread is raised to the next who waits."""
        with self._changed:
            self._failure = self._failure or failure
            self._changed.notify_all()

    def watch(self, reply: Reply[Any]) -> None:
        """Wakes those who wait when the reply settles, so that they need not wait for both one after the other."""
        reply.then(lambda _: self._wake())

    def take(self, names: Container[str] | None = None) -> Arrival | None:
        """The first waiting event of these names (of any when None), removed; None when there is none."""
        with self._changed:
            for i, arrival in enumerate(self._waiting):
                if names is None or arrival.event in names:
                    del self._waiting[i]
                    return arrival
        return None

    def peek(self, names: Container[str]) -> Arrival | None:
        """Like `take`, and leaves it there."""
        with self._changed:
            return next((arrival for arrival in self._waiting if arrival.event in names), None)

    def wait(self, look: Callable[[], T | None], timeout: float, what: str) -> T:
        """Calls `look` after every change until it gives something.

        Raises:
            TimeoutError: nothing within `timeout` seconds; the text says what was waited for.
        """
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                self.raise_failure()
                if (found := look()) is not None:
                    return found
                left = deadline - time.monotonic()
                if left <= 0 or (not self._changed.wait(left) and time.monotonic() >= deadline):
                    raise TimeoutError(f"no {what} within {timeout:g} s")

    def raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
