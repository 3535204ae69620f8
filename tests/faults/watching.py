"""Runs with every filter on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch

from dap_server.conditions.filters import FILTERS
from dap_server.engine.analysis.anomalies.explaining import Explainer
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.walk import Walk
from tests.faults.corpus import Found, Inputs

OPTIONS: dict[str, Any] = {"max_new_tokens": 40, "disable_compile": True}


@dataclass(frozen=True)
class Stopped:
    """The first stop of a run.

    Attributes:
        filters: that were hit there, the one that the stop is of first.
        text: the explanation.
    """

    found: Found
    filters: frozenset[str]
    text: str


@dataclass
class Watched:
    """A run that was watched to its first stop, and ran on alone. `tokens`: that it has made, of all sequences."""

    stopped: Stopped | None = None
    tokens: int = 0


def watched(loaded: Loaded, inputs: Inputs, seed: int = 0, **options: Any) -> Watched:
    watch = Watched()

    def decide(stop: Stop) -> Motion:
        hits = [walk.stepper.breakpoints.by_id[id].filter for id in stop.hits]
        assert stop.anomaly is not None
        assert all(hit is not None for hit in hits)
        ids = [hit.id for hit in hits if hit is not None]
        of = stop.anomaly.breakpoint.filter
        assert of is not None
        found = Found(of.id, stop.place.path, stop.place.step, stop.sequence)
        text = Explainer(walk.anatomy, walk.vocabulary).explain(stop).text
        watch.stopped = Stopped(found, frozenset(ids), text)
        walk.place()
        return Motion.RUN

    walk = Walk(loaded, decide)
    placed = walk.place(*[Wanted(0, id, "exception") for id in FILTERS])
    unplaced = [breakpoint.problem for breakpoint in placed if not breakpoint.is_verified]
    assert unplaced == [], unplaced
    torch.manual_seed(seed)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(Exception) if options.pop("may_fail", False) else stack)
        walk.generate(**inputs, **{**OPTIONS, **options})
    watch.tokens = sum(tokens.numel() for tokens in walk.heard)
    return watch
