"""What the own names of most filters mean at a place. What `nonFinite` counts depends on what it has seen before."""

from __future__ import annotations

from collections.abc import Callable

from dap_server.engine.analysis.anomalies import activations, choosing, looking, magnitudes, padding
from dap_server.engine.analysis.anomalies.passing import Passing

MEASURES: dict[str, Callable[[Passing], object]] = {
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
