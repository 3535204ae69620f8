"""Where the model thread waits while it is stopped, and works off the jobs that look at tensors.

Threads: the model thread parks; any other thread posts jobs and resumes. Gradient mode, inference mode, device and
stream belong to a thread in torch, which is why nobody else touches tensors.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from dap_server.engine.execution import memory
from dap_server.engine.execution.progress import Progress
from dap_server.protocol.errors import Cancelled, NotStopped
from dap_server.wire.reply import Reply

T = TypeVar("T")

LOOK = "Running earlier steps again"
"""The title of a job that takes long."""


_one_at_a_time = threading.Lock()
"""A thread that comes to a stop while another one stands waits until that goes on."""

_here = threading.local()
"""The stage whose jobs run on this thread, and how many are parked on it."""


def is_parked_here() -> bool:
    """Whether what runs on this thread is a job at a stop."""
    return bool(getattr(_here, "parked", 0))


def reporting(title: str) -> Callable[[int, int], None]:
    """What long work in a job calls between its pieces, with how much is done and how much there is.

    It tells how far the work is, and raises Cancelled when nobody waits for it any more. On a thread that no stage has
    parked it does nothing.
    """
    stage: Stage | None = getattr(_here, "stage", None)
    if stage is None:
        return lambda _done, _total: None
    stage.progress.called(title)

    def reached(done: int, total: int) -> None:
        stage.check_cancelled()
        stage.progress.reached(done, total)

    return reached


class _Job:
    """Something to do on the model thread, for somebody who waits for it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.reply: Reply[Any] = Reply()
        self.error: BaseException | None = None
        self.is_cancelled = False
        self._function = function

    def run(self) -> None:
        try:
            self.reply.settle(self._function())
        except BaseException as error:  # it belongs to who asked, not to the model thread
            self.error = memory.explained(error)
            self.reply.fail(Cancelled(str(error)))

    def cancel(self, why: str) -> None:
        self.is_cancelled = True
        self.reply.fail(Cancelled(why))


class Stage:
    """Parks one thread at a time. A job is either run while parked, or refused: never left behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._work: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._unfinished: set[_Job] = set()
        self._running: _Job | None = None
        self._parked = False
        self.progress = Progress()
        self.left: Callable[[], None] = lambda: None
        """Is told when a stop ends though nobody has resumed it: the thread was interrupted."""

    @property
    def is_parked(self) -> bool:
        return self._parked

    @property
    def is_working(self) -> bool:
        """Whether a job runs; it may have been cancelled and not know it yet."""
        return self._running is not None

    def park(self, parked: Callable[[], None]) -> None:
        """Model thread: tells that it is `parked`, then runs jobs until somebody resumes it."""
        with _one_at_a_time:
            _here.stage = self
            with self._lock:
                self._parked = True
            _here.parked = getattr(_here, "parked", 0) + 1
            try:
                self._work_off(parked)
            except BaseException:  # a handler of a signal raised in this thread, which goes on with that
                self._leave()
                raise
            finally:
                _here.parked -= 1

    def _work_off(self, parked: Callable[[], None]) -> None:
        parked()
        while (job := self._work.get()) is not None:
            if not job.is_cancelled:
                self._running = job
                self.progress.begins(LOOK)
                job.run()
                self.progress.ends()
                self._running = None

    def _leave(self) -> None:
        with self._lock:
            was_parked, self._parked = self._parked, False
            self._running = None
            self._cancel_all("the model goes on")
            self._work = queue.SimpleQueue()  # without the end of a stop that somebody resumes just now
        if was_parked:
            self.left()

    def run(self, function: Callable[[], T], is_cancelled: Callable[[], bool] = lambda: False) -> T:
        """Runs a function on the parked thread and waits for what it returns or raises.

        `is_cancelled` tells whether somebody has called `cancel` for it before it came here.

        Raises:
            NotStopped: nothing is parked.
            Cancelled: the thread was resumed, or the job was cancelled, before it was done.
        """
        job = _Job(function)
        with self._lock:
            if not self._parked:
                raise NotStopped
            if is_cancelled():
                raise Cancelled
            self._unfinished.add(job)
            self._work.put(job)
        try:
            result: T = job.reply.result()
        except Cancelled:
            if job.error is not None:
                raise job.error from None
            raise
        finally:
            self._unfinished.discard(job)
        return result

    def resume(self) -> None:
        """Lets the parked thread go on, after the job at hand. Jobs that have not begun are cancelled.

        Raises:
            NotStopped: nothing is parked.
        """
        with self._lock:
            if not self._parked:
                raise NotStopped
            self._parked = False
            self._cancel_all("the model was resumed")
            self._work.put(None)

    def cancel(self) -> None:
        """Ends the job that runs at its next `check_cancelled`, and refuses those that wait."""
        with self._lock:
            self._cancel_all("cancelled")

    def check_cancelled(self) -> None:
        """For long jobs, on the model thread, between pieces of work. Raises Cancelled."""
        if self._running is not None and self._running.is_cancelled:
            raise Cancelled

    def _cancel_all(self, why: str) -> None:
        for job in list(self._unfinished):
            job.cancel(why)
