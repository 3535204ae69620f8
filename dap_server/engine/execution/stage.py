"""Where the model thread waits while it is stopped, and works off the jobs that look at tensors.

Threads: the model thread parks; any other thread posts jobs and resumes. Gradient mode, inference mode, device and
stream belong to a thread in torch, which is why nobody else touches tensors.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from dap_server.protocol.errors import Cancelled, NotStopped
from dap_server.wire.reply import Reply

T = TypeVar("T")


class Stage:
    """Parks one thread at a time. A job is either run while parked, or refused: never left behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._waiting: set[Reply[Any]] = set()
        self._parked = False
        self._cancelled = threading.Event()

    @property
    def is_parked(self) -> bool:
        return self._parked

    def park(self, parked: Callable[[], None]) -> None:
        """Model thread: tells that it is `parked`, then runs jobs until somebody resumes it."""
        with self._lock:
            self._parked = True
        parked()
        while (work := self._work.get()) is not None:
            work()

    def run(self, job: Callable[[], T]) -> T:
        """Runs a job on the parked thread and waits for what it returns or raises.

        Raises:
            NotStopped: nothing is parked.
            Cancelled: the thread was resumed, or the job was cancelled, before it was done.
        """
        reply: Reply[T] = Reply()
        outcome: list[BaseException] = []

        def work() -> None:
            if reply.is_settled:
                return
            try:
                reply.settle(job())
            except BaseException as error:  # it belongs to who asked, not to the model thread
                outcome.append(error)
                reply.fail(Cancelled(str(error)))

        with self._lock:
            if not self._parked:
                raise NotStopped
            self._cancelled.clear()
            self._waiting.add(reply)
            self._work.put(work)
        try:
            return reply.result()
        except Cancelled:
            if outcome:
                raise outcome[0] from None
            raise
        finally:
            self._waiting.discard(reply)

    def resume(self) -> None:
        """Lets the parked thread go on. Jobs that have not begun are cancelled.

        Raises:
            NotStopped: nothing is parked.
        """
        with self._lock:
            if not self._parked:
                raise NotStopped
            self._parked = False
            for reply in list(self._waiting):
                reply.fail(Cancelled("the model was resumed"))
            self._work.put(None)

    def cancel(self) -> None:
        """Ends the job that runs at its next `check_cancelled`, and refuses those that wait."""
        with self._lock:
            self._cancelled.set()
            for reply in list(self._waiting):
                reply.fail(Cancelled())

    def check_cancelled(self) -> None:
        """For long jobs, between pieces of work. Raises Cancelled."""
        if self._cancelled.is_set():
            raise Cancelled
