"""Reads what data breakpoints watch, where a run passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dap_server.conditions.data_ids import WatchKind
from dap_server.engine.analysis.cache import contents
from dap_server.engine.analysis.conditions.names import PlaceNames
from dap_server.engine.execution.activations import live_activations
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.watchable import indexed
from dap_server.engine.execution.watching import Watch
from dap_server.engine.inspection.selection import options_of

Names = Callable[[int], PlaceNames]
"""The names of a place, for a sequence of the batch."""


def read(watch: Watch, candidate: Candidate, names: Names) -> dict[int, object]:
    """The value by sequence, 0 alone if it is of none; empty where there is none yet.

    Raises what reading it raises.
    """
    if watch.token is not None:
        return _probabilities(watch, candidate, names)
    try:
        return {0: indexed(_READ[watch.kind](watch, candidate, names), watch.data)}
    except LookupError:  # nothing passes here, or not so much
        return {}


def _probabilities(watch: Watch, candidate: Candidate, names: Names) -> dict[int, object]:
    assert watch.token is not None
    sequences = list(range(candidate.generation.sequences))
    if watch.data.indexes:
        (wanted,) = watch.data.indexes[0]
        sequences = [sequence for sequence in sequences if sequence == wanted]
    return {sequence: names(sequence).probability(watch.token) for sequence in sequences}


def _cached(watch: Watch, candidate: Candidate, _names: Names) -> object:
    """`2.keys`, and `cross.2.keys` of what a decoder has of its encoder."""
    activations = [] if candidate.call is None else live_activations(candidate.call)
    cache = contents.find_in(activations, candidate.generation)
    *part, layer, name = watch.data.name.split(".")
    entry = contents.entry_at(cache, int(layer), is_cross=bool(part))
    value = entry.states.get(name) if name not in ("keys", "values") else getattr(entry, name)
    if value is None:
        raise LookupError(name)
    return value


def _option(watch: Watch, candidate: Candidate, _names: Names) -> object:
    """As the logits processor has it that works with it; what none works with is as `generate` was told."""
    tape, name = candidate.generation.tape, watch.data.name
    if tape is None:
        raise LookupError(name)
    owner, _, option = name.rpartition(".")
    for processor in tape.logits_processor:
        for attribute, value in options_of(processor).items():
            is_meant = attribute == option if owner else option == attribute or option.endswith(f"_{attribute}")
            if is_meant and owner in ("", type(processor).__name__):
                return value
    config: Any = tape.config
    if owner or not hasattr(config, name):
        raise LookupError(name)
    return getattr(config, name)


_READ: dict[WatchKind, Callable[[Watch, Candidate, Names], object]] = {
    "parameter": lambda watch, _candidate, _names: watch.held,
    "activation": lambda _watch, _candidate, names: names(0)["output"],
    "input": lambda _watch, _candidate, names: names(0)["input"],
    "cache": _cached,
    "option": _option,
}
