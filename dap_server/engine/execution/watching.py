"""Data breakpoints: values that are looked at in some places of a run, and what they were when they were last seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

from dap_server.conditions.data_ids import DataId, WatchKind
from dap_server.conditions.expressions import Condition
from dap_server.engine.execution.changes import change_text, difference
from dap_server.modelmap.places import STEP, Phase, Place

if TYPE_CHECKING:
    from dap_server.engine.execution.judging import Candidate, Judge

KEPT_BYTES = 64 << 20
"""Of earlier steps' values of one breakpoint. Further back nobody knows any more what a value was."""


class Observation(NamedTuple):
    """A value where it is looked at.

    Attributes:
        before: what it was when it was last seen, None at first.
        change: the largest absolute difference between the two, 0 at first.
        since: where it was last seen.
    """

    value: object
    before: object | None
    change: float
    since: Place | None


@dataclass(frozen=True)
class _Entry:
    """What was last seen in a step; `is_true` says whether the condition was."""

    value: object
    place: Place | None
    is_true: bool


class Watch:
    """What a data breakpoint looks at, where, and what it has seen.

    What was seen is a log by step, which is taken back when the run goes back. A parameter does not go back with the
    run, and its log does not either.

    Attributes:
        title: what it is called in messages.
        modules, pseudo: the places where it is looked at.
        owner, attribute: of a parameter or buffer, the module that holds it, and its name there.
        token: id, whose probability it is.
        note: where it is looked at, in words.
        told: the change that was last stopped at, in words.
    """

    def __init__(
        self,
        data: DataId,
        title: str,
        note: str,
        modules: Sequence[tuple[str, Phase]] = (),
        pseudo: Sequence[tuple[str, Phase]] = (),
        owner: nn.Module | None = None,
        attribute: str = "",
        token: int | None = None,
    ) -> None:
        self.data, self.title, self.note = data, title, note
        self.modules, self.pseudo = list(modules), list(pseudo)
        self.owner, self.attribute, self.token = owner, attribute, token
        self.told = ""
        self._logs: dict[int, _Log] = {}  # by sequence
        self._hits: dict[Place, _Hit] = {}
        self._ahead: dict[Place, _Hit] = {}  # hits that were taken back, until the run is behind them again

    @property
    def kind(self) -> WatchKind:
        assert self.data.kind is not None
        return self.data.kind

    @property
    def place_count(self) -> int:
        return len(self.modules) + len(self.pseudo)

    @property
    def goes_back(self) -> bool:
        return not isinstance(self.held, nn.Parameter)

    @property
    def held(self) -> object:
        """The parameter or buffer as it is now."""
        return None if self.owner is None else getattr(self.owner, self.attribute, None)

    def begin(self, value: object) -> None:
        """What it is when the breakpoint is set."""
        self._log(0).add(0, _Entry(_kept(value), None, False))

    def judge(self, candidate: Candidate, judge: Judge, condition: Condition | None, is_again: bool) -> Iterator[int]:
        """Looks at the value in a place. The sequence of the batch that it stops for, if it stops there.

        Raises:
            ConditionError: the condition raised, or the value cannot be read.
        """
        place = candidate.place
        seen = {
            sequence: self._log(sequence).compare(value) for sequence, value in judge.watched(self, candidate).items()
        }
        if not seen:
            return
        true = self._true(replace(candidate, seen=seen), judge, condition)
        known = self._ahead.pop(place, None) if is_again else None
        if not is_again:
            self._ahead.clear()
        uses_change = condition is None or bool(condition.names & {"before", "change"})
        stops = [sequence for sequence in true if uses_change or not self._was_true(sequence, seen)]
        for sequence, one in seen.items():
            entry = _Entry(self._log(sequence).value_of(one), place, sequence in true)
            self._log(sequence).add(place.step if self.goes_back else 0, entry)
        if known is None and stops:
            known = _Hit(stops[0], self._told(seen.get(stops[0]) or seen[min(seen)], stops[0]))
        if known is not None:
            self._hits[place] = known
            self.told = known.text
            yield known.sequence

    def has_hit_at(self, place: Place) -> bool:
        return place in self._hits

    def take_back(self, step: int) -> None:
        """The run goes back to the start of a step: what it saw from there on lies in the future again."""
        for place in [place for place in self._hits if place.step >= step]:
            self._ahead[place] = self._hits.pop(place)
        if self.goes_back:
            for log in self._logs.values():
                log.take_back(step)

    def _true(self, candidate: Candidate, judge: Judge, condition: Condition | None) -> list[int]:
        """The sequences for which it has changed, or for which its condition is true."""
        assert candidate.seen is not None
        if condition is None:
            return [sequence for sequence, one in candidate.seen.items() if one.change > 0]
        return list(judge.sequences(condition, candidate, each=self.token is not None))

    def _was_true(self, sequence: int, seen: dict[int, Observation]) -> bool:
        last = self._log(sequence if sequence in seen else min(seen)).last
        return last is not None and last.is_true

    def _told(self, seen: Observation, sequence: int) -> str:
        which = f" in sequence {sequence + 1}" if self.token is not None and len(self._logs) > 1 else ""
        if not seen.change > 0:
            return f"{self.title}{which} {change_text(seen.value, None)}"
        return f"{self.title}{which}: {change_text(seen.value, seen.before)} (last seen {_when(seen.since)})"

    def _log(self, sequence: int) -> _Log:
        return self._logs.setdefault(sequence, _Log())


class _Hit(NamedTuple):
    sequence: int
    text: str


@dataclass
class _Log:
    """What one value was, by step; of each step the last that was seen."""

    by_step: dict[int, _Entry] = field(default_factory=dict)

    @property
    def last(self) -> _Entry | None:
        return next(reversed(self.by_step.values()), None)

    def compare(self, value: object) -> Observation:
        last = self.last
        if last is None:
            return Observation(value, None, 0.0, None)
        return Observation(value, last.value, difference(value, last.value), last.place)

    def value_of(self, seen: Observation) -> object:
        """To be kept: what was kept before if it is the same."""
        return seen.before if seen.before is not None and seen.change == 0 else _kept(seen.value)

    def add(self, step: int, entry: _Entry) -> None:
        self.by_step[step] = entry
        value = entry.value
        nbytes = value.numel() * value.element_size() if isinstance(value, Tensor) else 1
        if len(self.by_step) > max(KEPT_BYTES // max(nbytes, 1), 2):
            del self.by_step[next(iter(self.by_step))]

    def take_back(self, step: int) -> None:
        for later in [s for s in self.by_step if s >= step]:
            del self.by_step[later]


def _when(since: Place | None) -> str:
    if since is None:
        return "when the breakpoint was set"
    return f"at {since}" if since.path == STEP else str(since)


def _kept(value: object) -> object:
    """By value: what is looked at may be written to."""
    return value.detach().clone() if isinstance(value, Tensor) else value
