"""What the own names of the anomaly filters mean at a place, each worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dap_server.engine.analysis.anomalies import activations, choosing, looking, magnitudes, padding
from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.judging import Candidate

Measure = Callable[[Passing], object]

MEASURES: dict[str, dict[str, Measure]] = {
    "nearOverflow": {"peak": magnitudes.peak, "limit": magnitudes.limit},
    "residual": {"growth": magnitudes.growth},
    "deadActivations": {"dead": activations.dead, "saturated": activations.saturated},
    "attention": {"collapsed": looking.collapsed, "uniform": looking.uniform},
    "repetition": {
        "period": lambda passing: choosing.cycle(passing).period,
        "repeats": lambda passing: choosing.cycle(passing).repeats,
    },
    "lowConfidence": {"uncertainty": choosing.uncertainty},
    "padding": {
        "attended_padding": lambda passing: padding.given(passing).attended_padding,
        "masked_tokens": lambda passing: padding.given(passing).masked_tokens,
        "right_padding": lambda passing: padding.given(passing).right_padding,
        "tokens": lambda passing: padding.given(passing).tokens,
    },
}
"""By filter: its own names, and what works out each of them. What comes from tensors is a tensor () on their device."""


def measure(filter: str, candidate: Candidate, sequence: int, anatomy: Anatomy) -> Mapping[str, object]:
    """The own names of a filter at a place that a run passes, for one sequence of the batch.

    A value raises NotKnown where the place does not have it.
    """
    return Measured(MEASURES.get(filter, {}), Passing(candidate, sequence, anatomy))


class Measured(Mapping[str, object]):
    """Names whose values are worked out when they are looked up."""

    def __init__(self, measures: Mapping[str, Measure], passing: Passing) -> None:
        self._measures, self._passing = measures, passing

    def __getitem__(self, name: str) -> object:
        return self._measures[name](self._passing)

    def __iter__(self) -> Iterator[str]:
        return iter(self._measures)

    def __len__(self) -> int:
        return len(self._measures)
