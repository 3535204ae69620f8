"""Whether a breakpoint stops at a place: its condition, its hit condition, its log message.

What the names of a condition mean is told by a `Judge`, which knows more of a model than how it runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from types import FrameType
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import Condition
from dap_server.conditions.log_messages import LogMessage
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Given
from dap_server.engine.execution.breakpoint_set import BreakpointSet
from dap_server.engine.execution.breakpoints import Breakpoint
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.operations import Operation
from dap_server.engine.execution.stops import NOTHING, Anomaly, Failure
from dap_server.engine.execution.watching import Observation, Watch
from dap_server.modelmap.patterns import WHOLE_MODEL
from dap_server.modelmap.places import Place


class Prepared(Protocol):
    """What is heard of a module call from its beginning, for a condition at its end."""

    def close(self) -> None:
        """The call is over, or will not end."""
        ...


@dataclass(eq=False, slots=True)
class Candidate:
    """A place that a run passes, while nobody knows yet whether it stops there.

    Attributes:
        call: frame of the module call, whose `args` and `kwargs` are what it was given; None in token selection.
        output: what the module returned, at phase `after`.
        prepared: what was heard of the module call, where a condition at its end needs that.
        error: what the module has raised.
        inputs: what the module was called with, where the run was told; else the frame of the call knows it.
        seen: of a data breakpoint, the value that it watches, by sequence.
        known: what was worked out for one condition, for the next one.
    """

    place: Place
    generation: Generation
    call: FrameType | None = None
    output: Any = NOTHING
    operation: Operation | None = None
    prepared: Prepared | None = None
    error: Exception | None = None
    inputs: Given | None = None
    seen: Mapping[int, Observation] | None = None
    known: dict[Any, Any] = field(default_factory=dict)

    @property
    def given(self) -> Given:
        """What the module was called with, nothing in token selection."""
        if self.inputs is not None:
            return self.inputs
        if self.call is None:
            return (), {}
        variables = self.call.f_locals  # made anew whenever it is asked for
        return variables["args"], variables["kwargs"]

    @property
    def ordinal(self) -> int:
        """Of the operation in its step; 0 without one."""
        return 0 if self.operation is None else self.operation.site.ordinal


class Judge(Protocol):
    """Evaluates conditions and log messages. It leaves the run as it is, its random state too."""

    def prepare(self, path: str, module: nn.Module, call: FrameType, is_aside: Callable[[], bool]) -> Prepared:
        """A module call begins at whose end a condition needs more than its output.

        `is_aside`: whether what runs just now is no part of the call.
        """
        ...

    def sequences(self, condition: Condition | None, candidate: Candidate, each: bool = False) -> Iterator[int]:
        """For which sequences of the batch a condition is true; 0 alone if it is about none of them, unless `each`.

        Raises:
            ConditionError: it raised; the cause is what it raised.
        """
        ...

    def flag(self, condition: Condition, candidate: Candidate) -> bool | Tensor:
        """Whether a condition is true for any sequence that goes on, by code that does not wait for the device.

        A bool, or a tensor () of booleans. The condition is one for which `why_at_once` says nothing.

        Raises:
            ConditionError: it raised; the cause is what it raised. Judged at once it need not: the code comes to parts
                behind an `and`, `or` or comparison that only the device can decide.
        """
        ...

    def watched(self, watch: Watch, candidate: Candidate) -> dict[int, object]:
        """The value that is watched, by sequence, 0 alone if it is of none; empty where there is none yet.

        Raises:
            ConditionError: it cannot be read.
        """
        ...

    def text(self, message: LogMessage, candidate: Candidate, sequence: int) -> str:
        """A log message with its values. Raises ConditionError."""
        ...


class Verdict(NamedTuple):
    """What the breakpoints at a place come to.

    Attributes:
        hits: ids of those that stop there.
        sequence: of the batch, that the first of them is about.
        failure: a condition has raised; its breakpoint is the hit.
        anomaly: the first of them that is a filter.
    """

    hits: list[int]
    sequence: int = 0
    failure: Failure | None = None
    anomaly: Anomaly | None = None


NOT_HIT = Verdict([])


class Preparations:
    """What conditions at the ends of running module calls have to hear of these calls."""

    def __init__(self, judging: Judging, is_aside: Callable[[], bool]) -> None:
        """`is_aside`: whether what runs just now is no part of the calls."""
        self._judging, self._is_aside = judging, is_aside
        self._open: dict[FrameType, Prepared] = {}

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        judge = self._judging.judge
        if judge is not None and module in self._judging.breakpoints.everywhere.prepared:
            self._open[call] = judge.prepare(path, module, call, self._is_aside)

    def ends(self, call: FrameType) -> Prepared | None:
        """What was heard of a call, which is over."""
        prepared = self._open.pop(call, None) if self._open else None
        if prepared is not None:
            prepared.close()
        return prepared

    def clear(self) -> None:
        """Whatever runs will not end."""
        while self._open:
            self._open.popitem()[1].close()


class Judging:
    """Judges the breakpoints at the places that a run passes, and counts their hits."""

    def __init__(self, breakpoints: BreakpointSet, anatomy: Anatomy) -> None:
        self.breakpoints, self._anatomy = breakpoints, anatomy
        self.judge: Judge | None = None
        self.say: Callable[[str, Candidate], None] = lambda _text, _candidate: None
        """Is given log messages."""
        self.switched_off: Callable[[Breakpoint], None] = lambda _breakpoint: None
        """Is told of a breakpoint whose condition or log message has raised."""

    def passed(self, ids: list[int], candidate: Candidate, is_again: bool, is_on_the_way: bool) -> Verdict:
        """The run is at a place with breakpoints.

        Args:
            is_again: the run has been here before: nothing is said.
            is_on_the_way: it goes somewhere, past all breakpoints: they only count, and remember what they saw.
        """
        hits: list[int] = []
        first: int | None = None
        for id in ids:
            breakpoint = self.breakpoints.by_id.get(id)
            if breakpoint is None:
                continue
            speaks = breakpoint.log_message is not None and not is_again
            if is_on_the_way and not (speaks or _remembers(breakpoint)):
                continue
            is_of_one = breakpoint.condition is not None or breakpoint.watch is not None
            begun = perf_counter()
            try:
                sequence = 0 if breakpoint.is_plain else self._judged(breakpoint, candidate, speaks, is_again)
                if is_of_one:
                    breakpoint.cost.add(perf_counter() - begun)
            except ConditionError as error:
                if is_again or is_on_the_way:
                    continue
                return Verdict([id], failure=self._failed(breakpoint, candidate, error))
            if sequence is None or is_on_the_way:
                continue
            hits.append(id)
            first = sequence if first is None and is_of_one else first
        if not hits:
            return NOT_HIT
        found = next((b for id in hits if (b := self.breakpoints.by_id[id]).filter is not None), None)
        return Verdict(hits, first or 0, anomaly=None if found is None else Anomaly(found, candidate))

    def flag(self, breakpoint: Breakpoint, candidate: Candidate) -> Tensor | bool:
        """Whether a deferred condition is true, on the device. Raises ConditionError."""
        assert self.judge is not None
        assert breakpoint.condition is not None
        return self.judge.flag(breakpoint.condition, candidate)

    def _judged(self, breakpoint: Breakpoint, candidate: Candidate, speaks: bool, is_again: bool) -> int | None:
        """The sequence that it stops for; None when it does not. Raises ConditionError: its condition raised."""
        assert self.judge is not None
        message, watch = breakpoint.log_message, breakpoint.watch
        each = message is not None and message.is_per_sequence
        if watch is None:
            sequences = self.judge.sequences(breakpoint.condition, candidate, each)
        else:
            sequences = watch.judge(candidate, self.judge, breakpoint.condition, is_again)
        first = next(sequences, None)
        if first is None:
            return None
        if breakpoint.hits is not None and not breakpoint.hits.add(candidate.place, candidate.ordinal):
            return None
        if message is None:
            return first
        if speaks:
            for sequence in [first, *sequences] if each else [first]:
                self._say(breakpoint, message, candidate, sequence, each)
        return None

    def _say(
        self, breakpoint: Breakpoint, message: LogMessage, candidate: Candidate, sequence: int, each: bool
    ) -> None:
        assert self.judge is not None
        if breakpoint.is_off:
            return
        label = f"[sequence {sequence + 1}] " if each and candidate.generation.sequences > 1 else ""
        try:
            self.say(f"{label}{self.judge.text(message, candidate, sequence)}\n", candidate)
        except ConditionError as error:
            failure = self._failed(breakpoint, candidate, error)
            self.say(
                f"the log message of '{breakpoint.name or WHOLE_MODEL}' is switched off: {failure.text}\n", candidate
            )

    def _failed(self, breakpoint: Breakpoint, candidate: Candidate, error: ConditionError) -> Failure:
        raised = type(error.__cause__ or error).__name__
        why = f"switched off: {error}, {candidate.place}"
        self.breakpoints.switch_off(breakpoint, why, self._anatomy)
        self.switched_off(breakpoint)
        return Failure(raised, str(error), error.text, breakpoint.id)

    def held(self, ids: list[int], candidate: Candidate) -> bool:
        """Whether one of them has stopped the run at a place, or would have, as its step runs again."""
        found = (self.breakpoints.by_id.get(id) for id in ids)
        return any(breakpoint is not None and self._held(breakpoint, candidate) for breakpoint in found)

    def _held(self, breakpoint: Breakpoint, candidate: Candidate) -> bool:
        if breakpoint.is_plain:
            return True
        if breakpoint.log_message is not None or self.judge is None:
            return False
        if breakpoint.hits is not None:
            return breakpoint.hits.has_met_at(candidate.place, candidate.ordinal)
        if breakpoint.watch is not None:
            return breakpoint.watch.has_hit_at(candidate.place)
        with contextlib.suppress(ConditionError):
            return next(self.judge.sequences(breakpoint.condition, candidate), None) is not None
        return False


def _remembers(breakpoint: Breakpoint) -> bool:
    """Whether what it passes has to do with what it finds later: what was not finite there is not born behind it."""
    return breakpoint.hits is not None or breakpoint.watch is not None or breakpoint.is_filter("nonFinite")
