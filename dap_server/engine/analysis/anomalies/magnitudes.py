"""How large values are: against what their dtype can hold, and against what they were before a layer."""

from __future__ import annotations

import torch
from torch import Tensor

from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.analysis.norms import last_vector


def peak(passing: Passing) -> Tensor:
    """() the largest magnitude of what the module returned, below the limit of its dtype.

    What is not finite has gone beyond it: another filter tells of that. An element that is the very limit comes out
    of no calculation: it is what masks are filled with.
    """
    sizes = below_limit(passing.output)
    return sizes.amax() if sizes.numel() else sizes.new_zeros(())


def below_limit(values: Tensor) -> Tensor:
    """The magnitudes of values that are smaller than the largest number of their dtype; 0 for all others."""
    sizes = values.abs()
    return torch.where(sizes < torch.finfo(values.dtype).max, sizes, 0)


def limit(passing: Passing) -> float:
    """The largest number that the dtype of what the module returned can hold."""
    return float(torch.finfo(passing.output.dtype).max)


def growth(passing: Passing) -> Tensor:
    """() how many times as large a layer makes the last position's vector of the residual stream.

    The typical element is compared, not the norm: single elements that are a thousand times as large as all others
    come and go from one layer to the next in healthy models (Sun et al., "Massive Activations in Large Language
    Models", 2024). Of a vector of zeros nothing can be told: NaN.
    """
    before, after = vectors(passing)
    small = typical(before)
    return typical(after) / torch.where(small > 0, small, torch.nan)


def typical(vector: Tensor) -> Tensor:
    """() the median magnitude of the elements of (D,)."""
    return vector.float().abs().median()


def vectors(passing: Passing) -> tuple[Tensor, Tensor]:
    """(D,) each: the last position of the residual stream in front of a layer and behind it. Raises NotKnown."""
    candidate = passing.candidate
    if candidate.call is None:
        raise NotKnown("the residual stream is known at layers")
    (args, kwargs), sequences = candidate.given, candidate.generation.sequences
    before = last_vector(kwargs.get("hidden_states", args), passing.sequence, sequences)
    after = last_vector(candidate.output, passing.sequence, sequences)
    if before is None or after is None:
        raise NotKnown(f"'{candidate.place.path}' does not pass on a residual stream")
    return before.detach(), after.detach()
