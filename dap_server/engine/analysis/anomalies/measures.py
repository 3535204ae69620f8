"""What the names of the filters of anomalies mean at a place, each worked out when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable

from dap_server.engine.analysis.anomalies import activations, choosing, looking, magnitudes, padding
from dap_server.engine.analysis.anomalies.non_finite import Counts, NonFinite
from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.judging import Candidate

MEASURED: dict[str, Callable[[Passing], object]] = {
    "peak": magnitudes.peak,
    "limit": magnitudes.limit,
    "growth": magnitudes.growth,
    "dead": activations.dead,
    "saturated": activations.saturated,
    "collapsed": looking.collapsed,
    "uniform": looking.uniform,
    "period": lambda passing: choosing.cycle(passing).period,
    "repeats": lambda passing: choosing.cycle(passing).repeats,
    "uncertainty": choosing.uncertainty,
    "attended_padding": lambda passing: padding.given(passing).attended_padding,
    "masked_tokens": lambda passing: padding.given(passing).masked_tokens,
    "right_padding": lambda passing: padding.given(passing).right_padding,
    "tokens": lambda passing: padding.given(passing).tokens,
}
"""What comes from tensors is a tensor () on their device; a value raises NotKnown where the place does not have it."""

COUNTED: dict[str, Callable[[Counts], int]] = {
    "nans": lambda counts: counts.nans,
    "infinities": lambda counts: counts.infinities,
    "count": sum,
}
"""Of `nonFinite`: what they are depends on what it has seen before."""

RAISED: dict[str, Callable[[object], str]] = {
    "error": lambda error: type(error).__name__,
    "message": str,
}
"""Of `forwardError`."""


class Measures:
    """The measurements of one model, and what has to be remembered for them."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._non_finite = NonFinite()

    def value(self, name: str, candidate: Candidate, sequence: int) -> object:
        """Raises KeyError: no filter has such a name.

        A number that a place does not have, such as of attention in a layer that computes none, is NaN.
        """
        if name in COUNTED:
            return COUNTED[name](self._non_finite.known(candidate))
        if name in RAISED:
            return RAISED[name](candidate.error)
        try:
            return MEASURED[name](Passing(candidate, sequence, self._anatomy))
        except NotKnown:
            return math.nan
