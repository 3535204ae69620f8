"""An answer that comes later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from dap_server.protocol.errors import RequestError

T = TypeVar("T")


class Reply(Generic[T]):
    """Settles once, with a value or an error; callbacks run on the thread that settles it.

    Waiting for it with `result` is for clients. A dispatcher never waits, it says what happens `then`.
    """

    seq = 0
    """The number of the request that this answers, for `cancel`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._value: T | None = None
        self._error: RequestError | None = None
        self._callbacks: list[Callable[[Reply[T]], None]] = []

    def settle(self, value: T) -> None:
        self._finish(value, None)

    def fail(self, error: RequestError) -> None:
        self._finish(None, error)

    def then(self, callback: Callable[[Reply[T]], None]) -> None:
        """Calls back with this reply once it has settled; at once if it already has."""
        with self._lock:
            if not self._done.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    @property
    def is_settled(self) -> bool:
        return self._done.is_set()

    @property
    def is_success(self) -> bool:
        """Whether it has settled, and with a value."""
        return self._done.is_set() and self._error is None

    def result(self, timeout: float | None = None) -> T:
        """The value, waiting for it.

        Raises:
            RequestError: the request failed.
            TimeoutError: no answer within `timeout` seconds.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"no answer within {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # settled without an error: it is a T

    def _finish(self, value: T | None, error: RequestError | None) -> None:
        with self._lock:
            if self._done.is_set():
                return
            self._value, self._error = value, error
            self._done.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)
