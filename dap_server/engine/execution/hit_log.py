"""The hits of one breakpoint that the run has passed: counted forward, and taken back when the run goes back."""

from __future__ import annotations

from dap_server.conditions.hits import HitCondition
from dap_server.modelmap.places import Place


class HitLog:
    """Counts hits for a hit condition. What was passed before the breakpoint was set has no number, and never will."""

    def __init__(self, condition: HitCondition) -> None:
        self.count = 0
        self.condition = condition
        self._by_step: dict[int, int] = {}
        self._met: dict[int, set[tuple[Place, int]]] = {}

    def add(self, place: Place, ordinal: int = 0) -> bool:
        """One more hit; whether its number meets the condition. `ordinal`: of an operation in its step."""
        self.count += 1
        self._by_step[place.step] = self._by_step.get(place.step, 0) + 1
        is_met = self.condition.is_met(self.count)
        if is_met:
            self._met.setdefault(place.step, set()).add((place, ordinal))
        return is_met

    def has_met_at(self, place: Place, ordinal: int = 0) -> bool:
        """Whether a hit at this place has met the condition."""
        return (place, ordinal) in self._met.get(place.step, ())

    def stand_at(self, step: int, count: int) -> None:
        """There were so many hits when a step began, which somebody else has counted."""
        self.take_back(step)
        self.count = count

    def settle(self) -> None:
        """What it has counted is no longer of a run that can go back."""
        self._by_step.clear()
        self._met.clear()

    def take_back(self, step: int) -> None:
        """The run goes back to the start of a step: what it hit from there on lies in the future again."""
        for later in [s for s in self._by_step if s >= step]:
            self.count -= self._by_step.pop(later)
            self._met.pop(later, None)
