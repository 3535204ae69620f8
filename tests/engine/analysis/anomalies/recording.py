"""What a filter measures at the places of a run, without stopping it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from dap_server.conditions.expressions import Condition
from dap_server.conditions.names import NAMES
from dap_server.engine.analysis.anomalies.measures import Measures
from dap_server.engine.analysis.conditions.judge import ConditionJudge
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.judging import Candidate
from tests.engine.walk import Walk

Key = tuple[str, int, int]
"""Path, step, sequence."""

Values = dict[Key, dict[str, float]]

LISTENS = "attention(0) is not None"
"""A condition for which attention is heard."""


class Recorder(ConditionJudge):
    """Measures in the place of judging."""

    def __init__(self, filter: str, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        super().__init__(anatomy, vocabulary)
        self._measures = Measures(anatomy)
        self._own = [name for name, known in NAMES.items() if known.filter == filter]
        self.values: Values = {}

    def sequences(self, condition: Condition | None, candidate: Candidate, each: bool = False) -> Iterator[int]:
        place = candidate.place
        for sequence in range(candidate.generation.sequences):
            self.values[(place.path, place.step, sequence)] = measured(self._measures, self._own, candidate, sequence)
        return iter(())


def measured(measures: Measures, names: list[str], candidate: Candidate, sequence: int = 0) -> dict[str, float]:
    """The values of some names; each comes from tensors without waiting for them, or is a plain number."""
    values = {name: measures.value(name, candidate, sequence) for name in names}
    assert all(isinstance(value, Tensor | float) for value in values.values())
    return {name: float(value) for name, value in values.items()}  # type: ignore[arg-type]


def recorded(model: Any, filter: str, *places: str, condition: str = "True", **asked: Any) -> Values:
    """The values of a filter's names at places, such as `after:model.layers.0`, in one call of `generate`."""
    walk = Walk(Loaded(model, None))
    recorder = walk.stepper.judging.judge = Recorder(filter, walk.anatomy, walk.vocabulary)
    for placed in walk.place(*[Wanted(0, place, condition=condition) for place in places]):
        assert placed.is_verified, placed.problem
    walk.generate(**asked)
    return recorder.values
