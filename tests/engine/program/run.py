"""A function of the test as a program under the debugger, on a thread of its own; the test is its client."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.debuggee import Debuggee
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.travel import Destination
from dap_server.engine.program.models import Models, Placed

T = TypeVar("T")
PATIENCE = 60.0


class Attached:
    """A debugger that is attached to this process. Stops of any model come one after another."""

    def __init__(self, *breakpoints: str | Wanted) -> None:
        self.said: list[str] = []
        self.changed: list[Placed] = []
        self.current: Debuggee | None = None
        self.wanted = [Wanted(i, one) if isinstance(one, str) else one for i, one in enumerate(breakpoints, 1)]
        self._stops: queue.SimpleQueue[Stop | None] = queue.SimpleQueue()
        self.models = Models(self._make, self._is_current, self.changed.append, self.said.append)
        self.models.set_breakpoints(self.wanted)

    @property
    def now(self) -> Debuggee:
        assert self.current is not None
        return self.current

    def next_stop(self) -> Stop:
        """Waits for one."""
        stop = self._stops.get(timeout=PATIENCE)
        assert stop is not None, "the program has ended"
        return stop

    @property
    def stop(self) -> Stop:
        """The present one."""
        stop = self.now.stepper.stop
        assert stop is not None
        return stop

    def run_to_end(self, motions: Sequence[Motion] = ()) -> list[str]:
        """From the next stop on, until the program has ended; returns the stops."""
        stops, how = [], iter(motions)
        while (stop := self._stops.get(timeout=PATIENCE)) is not None:
            stops.append(f"{stop.reason}: {stop.place}")
            self.go(next(how, Motion.RUN))
        return stops

    def at(self) -> str:
        """The next stop, as text."""
        stop = self.next_stop()
        return f"{stop.reason}: {stop.place}"

    def go(self, how: Motion | Destination = Motion.RUN) -> None:
        if isinstance(how, Destination):
            self.now.stepper.travel(*how)
        else:
            self.now.stepper.resume(how)

    def look(self, job: Callable[[], T]) -> T:
        """On the thread that is stopped."""
        return self.now.stepper.stage.run(job)

    def ended(self) -> None:
        self._stops.put(None)

    def _make(self, loaded: Loaded) -> Debuggee:
        debuggee = Debuggee(loaded, self._stops.put, lambda _text: None, self.said.append)
        debuggee.changed = self.models_changed
        debuggee.stepper.judging.switched_off = self.models_changed
        return debuggee

    def models_changed(self, breakpoint: Any) -> None:
        self.models.breakpoint_changed(breakpoint)

    def _is_current(self, debuggee: Debuggee) -> None:
        self.current = debuggee


class Program(Generic[T]):
    """Runs on a thread."""

    def __init__(self, function: Callable[[], T], ended: Callable[[], None] = lambda: None) -> None:
        self._function, self._ended = function, ended
        self._result: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Waits for its end. Raises what it raised."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the program does not end"
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # it has ended

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        finally:
            self._ended()


@contextmanager
def attached(*breakpoints: str | Wanted) -> Iterator[Attached]:
    """While this is open, a debugger is attached."""
    debugger = Attached(*breakpoints)
    debugger.models.attach()
    try:
        yield debugger
    finally:
        debugger.models.detach()


def debugged(
    function: Callable[[], T], *breakpoints: str | Wanted, decide: Sequence[Motion] = ()
) -> tuple[T, list[str]]:
    """What a program returns under the debugger, and its stops; after each it goes on as `decide` has it, then free."""
    with attached(*breakpoints) as debugger:
        program = Program(function, debugger.ended)
        stops = debugger.run_to_end(decide)
        return program.result(), stops
