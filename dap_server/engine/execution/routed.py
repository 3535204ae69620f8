"""Which of some tensors tell the experts that tokens get, and their weights: of a router, or given to experts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Told(NamedTuple):
    """Indices of tensors. N is all positions of all sequences, E all experts.

    Attributes:
        chosen: numbers (N, K), or marks (N, E); None where weights (N, E) that are 0 for most tell by themselves.
        weights: (N, K), (N, E), or (N, 1) beside marks; None where there are none.
        are_numbers: whether `chosen` are numbers of experts.
    """

    chosen: int | None
    weights: int | None
    are_numbers: bool


def told_by(tensors: Sequence[Tensor], count: int, experts: int) -> Told | None:
    """None where they do not tell. `count`: N, `experts`: E."""
    rows = {
        i: tensor.reshape(count, -1)
        for i, tensor in enumerate(tensors)
        if tensor.dim() > 1 and math.prod(tensor.shape[:-1]) == count
    }
    floats = {i: row for i, row in rows.items() if row.is_floating_point() and row.shape[1] <= experts}
    whole = {i: row for i, row in rows.items() if not row.is_floating_point() and row.shape[1] <= experts}
    for i, row in whole.items():
        weights = next((j for j, other in floats.items() if other.shape == row.shape), None)
        if _are_numbers(row, experts, None if weights is None else floats[weights]):
            return Told(i, weights, True)
    for i, row in floats.items():
        if row.shape[1] == experts and bool((row == 0).any()) and not bool((row < 0).any()):
            return Told(None, i, False)
    for i, row in whole.items():
        if row.shape[1] == experts:
            return Told(i, next((j for j, other in floats.items() if other.shape[1] == 1), None), False)
    return None


def _are_numbers(row: Tensor, experts: int, weights: Tensor | None) -> bool:
    """Whether (N, K) are numbers of experts. When each token uses all, a mask would look alike but for its weights."""
    if row.dtype is torch.bool or int(row.min()) < 0 or int(row.max()) >= experts:
        return False
    if row.shape[1] < experts:
        return True
    return weights is not None and bool((row.sort(dim=1).values == torch.arange(experts, device=row.device)).all())


def logits_of(returned: list[Any], index: int | None) -> Tensor | None:
    """(…, E) of what a router returned. `index`: as the router has it."""
    if index is None:
        several = [value for value in returned if isinstance(value, Tensor) and value.is_floating_point()]
        return max(several, key=lambda value: value.shape[-1], default=None)
    value = returned[index] if index < len(returned) else None
    return value if isinstance(value, Tensor) and value.dim() > 1 else None
