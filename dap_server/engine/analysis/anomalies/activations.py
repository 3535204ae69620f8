"""Activation functions that give nothing, or nothing but their ends."""

from __future__ import annotations

import torch
from torch import Tensor

from dap_server.engine.analysis.anomalies.passing import Passing, share
from dap_server.engine.anatomy.nonlinearities import ends_of

OFF = 1e-3
"""What a unit lets through of its input, at most, when it is off: SiLU below -6.9, GELU below -3.1, ReLU below 0."""

NOTHING = 1e-8
"""A magnitude that has no effect whatever came in."""

CLOSE = 1e-3
"""As close to an end as this share of the range is at it."""


def dead(passing: Passing) -> Tensor:
    """() share of the units (the last axis) that are off at every position of this call, of all sequences.

    To be off at one position is nothing special: nine in ten units are in a healthy model with ReLU (Li et al., "The
    Lazy Neuron Phenomenon", 2022).
    """
    return share(_rows(_off(passing)).all(dim=0)) if passing.output.numel() else share(passing.output)


def _off(passing: Passing) -> Tensor:
    made, given = passing.output, passing.input
    sizes = made.abs()
    off = sizes <= NOTHING
    if given is not None and given.shape == made.shape:
        off |= sizes <= OFF * given.abs()
    return off


def saturated(passing: Passing) -> Tensor:
    """() share of the elements at an end of a bounded function; 0 of a function without one."""
    made, (low, high) = passing.output, ends_of(passing.module)
    margin = CLOSE * ((high or 0.0) - (low or 0.0))
    at_end = torch.zeros_like(made, dtype=torch.bool)
    if low is not None:
        at_end |= made <= low + margin
    if high is not None:
        at_end |= made >= high - margin
    return share(at_end)


def _rows(values: Tensor) -> Tensor:
    """(N, D) every position in a row of its own."""
    return values.reshape(-1, values.shape[-1] if values.dim() else 1)
