"""What the names of the filters of anomalies mean at a place, each worked out when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

from dap_server.engine.analysis.anomalies import measuring
from dap_server.engine.analysis.anomalies.non_finite import NonFinite
from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.judging import Candidate

Measure = Callable[["Measures", Candidate, int], object]
"""Gets the place, and the sequence of the batch that it is asked about."""


class Measures:
    """The measurements of one model, and what has to be remembered for them."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._non_finite = NonFinite()

    def value(self, name: str, candidate: Candidate, sequence: int) -> object:
        """Raises KeyError: no filter has such a name.

        A number that a place does not have, such as of attention in a layer that computes none, is NaN.
        """
        measure = measuring.MEASURES.get(name)
        if measure is None:
            return MEASURES[name](self, candidate, sequence)
        try:
            return measure(Passing(candidate, sequence, self._anatomy))
        except NotKnown:
            return math.nan

    def _nans(self, candidate: Candidate, _sequence: int) -> int:
        return self._non_finite.known(candidate).nans

    def _infinities(self, candidate: Candidate, _sequence: int) -> int:
        return self._non_finite.known(candidate).infinities

    def _count(self, candidate: Candidate, _sequence: int) -> int:
        return sum(self._non_finite.known(candidate))

    def _error(self, candidate: Candidate, _sequence: int) -> str:
        return type(candidate.error).__name__

    def _message(self, candidate: Candidate, _sequence: int) -> str:
        return str(candidate.error)


MEASURES: dict[str, Measure] = {
    "nans": Measures._nans,
    "infinities": Measures._infinities,
    "count": Measures._count,
    "error": Measures._error,
    "message": Measures._message,
}
