"""Exceptions that nobody catches: where the program stands then, what is seen, and how it ends."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.stepping import Motion, Stepper
from dap_server.engine.execution.stops import Interruption, Stop, Uncaught
from dap_server.engine.inspection.hovering import EvaluationError
from dap_server.engine.inspection.tracebacks import described
from dap_server.engine.program.uncaught import UncaughtExceptions, stop_of
from tests.engine.inspection.at_a_line import Lines


class Watched(Lines):
    """Stops post mortem; a function of the test looks at each."""

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__(model)
        self.told: list[str] = []
        self.uncaught = UncaughtExceptions(self._stands)
        self.uncaught.is_wanted = True

    def _stands(self, uncaught: Uncaught) -> None:
        stop = stop_of(self.stepper, uncaught)
        self.stops.append(stop)
        self.look(stop)

    def end(self, program: Callable[[], Any]) -> None:
        """Runs it as an interpreter would run a program to its end."""
        try:
            program()
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    found = Watched()
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: found.told.append(kind.__name__))
    monkeypatch.setattr(threading, "excepthook", lambda args: found.told.append(f"thread: {args.exc_type.__name__}"))
    found.uncaught.install()
    yield found
    found.uncaught.remove()


def test_the_program_stands_where_it_was_raised_and_then_ends_as_it_would_have(watched: Watched) -> None:
    def look(stop: Stop) -> None:
        frames = watched.stack(stop)
        assert [frame.name.rpartition(".")[2] for frame in frames[:2]] == ["divide", "program"]
        assert frames[0].source is not None
        assert frames[0].source.line == divide.__code__.co_firstlineno + 1
        assert watched.rows(frames[0])["by"].value == "0"
        assert watched.evaluator.evaluate("by + 1", frames[0]) == 1
        assert watched.evaluator.evaluate("__exception__.args", frames[0]) == ("division by zero",)
        with pytest.raises(EvaluationError, match="its function is over"):
            watched.evaluator.assign("by", "3", frames[0])

    def divide(by: int) -> float:
        return 1 / by

    def program() -> None:
        divide(0)

    watched.look = look
    watched.end(program)
    assert watched.told == ["ZeroDivisionError"]
    assert [stop.about for stop in watched.stops] == ["ZeroDivisionError: division by zero"]


def test_modules_that_it_has_left_are_frames_at_the_lines_they_were_on(watched: Watched) -> None:
    class Mix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.Linear(4, 8)

        def forward(self, x: Tensor) -> Tensor:
            wide: Tensor = self.up(x)
            return wide @ x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = Mix()

        def forward(self, x: Tensor) -> Tensor:
            mixed: Tensor = self.mix(x)
            return mixed

    net = Net()
    known = Watched(net)

    def look(_stop: Stop) -> None:
        uncaught = watched.stops[-1].uncaught
        assert uncaught is not None
        stop = stop_of(known.stepper, uncaught)
        frames = known.stack(stop)
        assert [(frame.kind, frame.name) for frame in frames[:5]] == [
            ("forward", "Mix.forward"),
            ("module", "mix (raised)"),
            ("module", "Net"),
            ("forward", "Net.forward"),
            ("step", "step 0 (prefill)"),
        ]
        forward = frames[0]
        assert forward.source is not None
        assert forward.source.line == Mix.forward.__code__.co_firstlineno + 2
        assert known.rows(forward)["wide"].value.startswith("float32 [2, 8]")
        (inputs,) = [scope for scope in known.scopes.of(frames[1]) if scope.name == "Inputs"]
        assert inputs.children.named_rows()[0].value.startswith("float32 [2, 4]")

    watched.look = look
    watched.end(lambda: net(torch.ones(2, 4)))
    assert len(watched.stops) == 1


def test_the_end_of_a_thread_is_one_of_its_own(watched: Watched) -> None:
    def worker() -> None:
        raise LookupError("nothing")

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    (stop,) = watched.stops
    assert stop.thread == thread.ident
    assert watched.told == ["thread: LookupError"]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Interruption()])
def test_what_ends_a_program_without_anything_wrong_does_not_stop_it(watched: Watched, error: BaseException) -> None:
    def program() -> None:
        raise error

    watched.end(program)
    assert watched.stops == []
    assert watched.told == [type(error).__name__]


def test_one_that_a_filter_has_shown_where_it_was_raised_is_not_shown_again(watched: Watched) -> None:
    error = ValueError("seen")

    def program() -> None:
        watched.uncaught.shown(error)
        raise error

    watched.end(program)
    watched.end(lambda: [][0])
    assert [stop.about for stop in watched.stops] == ["IndexError: list index out of range"]


def test_switched_off_or_taken_out_nothing_of_it_is_left(watched: Watched) -> None:
    watched.uncaught.is_wanted = False
    watched.end(lambda: dict[str, int]()["a"])
    watched.uncaught.is_wanted = True
    hooks = sys.excepthook, threading.excepthook
    watched.uncaught.remove()
    assert hooks[0] not in (sys.excepthook, threading.excepthook)
    watched.end(lambda: dict[str, int]()["a"])
    assert watched.stops == []
    assert watched.told == ["KeyError", "KeyError"]


def test_a_hook_that_the_program_has_put_in_front_of_ours_stays_when_we_go(watched: Watched) -> None:
    ours = sys.excepthook

    def theirs(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        watched.told.append("theirs")
        ours(kind, error, traceback)

    sys.excepthook = theirs
    watched.end(lambda: dict[str, int]()["a"])
    watched.uncaught.remove()
    assert sys.excepthook is theirs
    watched.end(lambda: dict[str, int]()["a"])
    assert watched.told == ["theirs", "KeyError", "theirs", "KeyError"]
    assert len(watched.stops) == 1


def test_who_runs_the_program_can_have_it_stop_whatever_hook_it_has_and_only_once(watched: Watched) -> None:
    error = KeyError("a")
    watched.uncaught.stop_at(error)
    sys.excepthook(KeyError, error, None)
    assert len(watched.stops) == 1


def test_what_is_no_python_is_shown_at_its_line(watched: Watched) -> None:
    watched.end(lambda: compile("x = 1\nif x\n    y\n", "/home/someone/settings.py", "exec"))
    frame = watched.stack(watched.stops[0])[0]
    assert frame.source == ("/home/someone/settings.py", 2)
    assert watched.scopes.of(frame) == []


def test_causes_and_members_of_groups_are_told_with_the_traceback() -> None:
    def read() -> None:
        try:
            raise FileNotFoundError("weights.bin")
        except FileNotFoundError as error:
            raise RuntimeError("no weights") from error

    def program() -> None:
        try:
            read()
        except RuntimeError:
            raise ExceptionGroup("both", [ValueError("a"), TypeError("b")]) from None

    with pytest.raises(ExceptionGroup) as caught:
        program()
    group = described(caught.value)
    assert (group.kind, group.message) == ("ExceptionGroup", "both (2 sub-exceptions)")
    assert [(one.kind, one.message) for one in group.because] == [("ValueError", "a"), ("TypeError", "b")]
    with pytest.raises(RuntimeError) as caught_too:
        read()
    raised = described(caught_too.value)
    assert [one.kind for one in raised.because] == ["FileNotFoundError"]
    assert "The above exception was the direct cause" in raised.trace
    assert raised.trace.rstrip().endswith("RuntimeError: no weights")


def test_an_exception_that_cannot_say_what_it_is_does_not_fail_the_stop(watched: Watched) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise ValueError("no text")

    def program() -> None:
        raise Silent

    watched.end(program)
    error = watched.stops[0].uncaught
    assert error is not None
    assert "cannot be shown" in described(error.error).message
    assert watched.told == ["Silent"]


def test_a_recursion_without_end_has_its_thousand_frames() -> None:
    known = Watched()

    def deeper(n: int) -> int:
        return deeper(n + 1) + 1

    with pytest.raises(RecursionError) as caught:
        deeper(0)
    frames = known.stack(stop_of(known.stepper, Uncaught(caught.value, caught.tb)))
    assert len(frames) > 500
    assert frames[0].name.endswith("deeper")


def test_threads_that_end_at_the_same_time_stand_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    stood: queue.SimpleQueue[tuple[Stop, Stop | None]] = queue.SimpleQueue()
    stepper = Stepper(Anatomy(nn.Module()), lambda stop: stood.put((stop, stepper.stop)))
    uncaught = UncaughtExceptions(lambda one: stepper.stand_outside(stop_of(stepper, one)))
    uncaught.is_wanted = True

    def worker(number: int) -> None:
        raise LookupError(number)

    threads = [threading.Thread(target=worker, args=(number,)) for number in range(8)]
    uncaught.install()
    try:
        for thread in threads:
            thread.start()
        told = []
        for _ in threads:
            stop, known = stood.get(timeout=30)
            assert known is stop
            told.append(stop.about)
            stepper.stage.run(lambda: None)
            stepper.resume(Motion.RUN)
        for thread in threads:
            thread.join(30)
    finally:
        uncaught.remove()
    assert sorted(told) == [f"LookupError: {number}" for number in range(8)]
    assert stepper.stop is None
