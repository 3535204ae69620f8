"""How two values of one thing differ, as a number and in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

PIECE = 1 << 20
"""Elements that are compared at a time."""


def difference(value: object, before: object) -> float:
    """The largest absolute difference of their elements; 0 where nothing has changed.

    NaN that stays NaN has not changed. What becomes NaN or is it no longer, what has another shape, and what is no
    number and not the same differ by infinity.
    """
    if isinstance(value, Tensor) and isinstance(before, Tensor):
        if value.shape != before.shape:
            return math.inf
        return max((float(piece.max()) for piece in _differences(value, before)), default=0.0)
    if isinstance(value, int | float) and isinstance(before, int | float):
        if value == before or (value != value and before != before):
            return 0.0
        apart = abs(float(value) - float(before))
        return math.inf if math.isnan(apart) else apart
    return 0.0 if _is_same(value, before) else math.inf


def change_text(value: object, before: object) -> str:
    """`0.25 → 0.5`; of a tensor `3 of 64 elements, by up to 0.2, first [0, 7]: 0.25 → 0.5`; `is 0.5` if it is new."""
    if before is None:
        return f"is {_short(value)}"
    if not isinstance(value, Tensor) or not isinstance(before, Tensor):
        return _arrow(before, value)
    if value.shape != before.shape:
        return f"shape {list(before.shape)} → {list(value.shape)}"
    moved = torch.cat([piece > 0 for piece in _differences(value, before)])
    count = int(moved.sum())
    flat = int(moved.to(torch.uint8).argmax())
    at = [int(i) for i in torch.unravel_index(torch.tensor(flat), value.shape)]
    first = f"first {at}: {_arrow(before[tuple(at)].item(), value[tuple(at)].item())}"
    return f"{count:,} of {value.numel():,} elements, by up to {difference(value, before):.4g}, {first}"


def _differences(value: Tensor, before: Tensor) -> Iterator[Tensor]:
    """Of every element, in float64, some at a time: infinity where one is NaN."""
    flat, known = value.reshape(-1), before.reshape(-1).to(value.device)
    for start in range(0, flat.numel(), PIECE):
        now, then = flat[start : start + PIECE], known[start : start + PIECE]
        same = (now == then) | (now.isnan() & then.isnan())
        apart = (_wide(now) - _wide(then)).abs()
        yield apart.double().masked_fill(same, 0.0).nan_to_num(nan=math.inf, posinf=math.inf)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def _is_same(value: object, before: object) -> bool:
    try:
        return type(value) is type(before) and bool(value == before)
    except Exception:  # of somebody's own class
        return value is before


def _arrow(before: object, value: object) -> str:
    """As short as tells them apart."""
    texts = [_short(before), _short(value)]
    if texts[0] == texts[1]:
        texts = [repr(before), repr(value)]
    return " → ".join(texts)


def _short(value: object) -> str:
    if isinstance(value, Tensor):
        return _range(value)
    return f"{value:.6g}" if isinstance(value, float) else repr(value)[:60]


def _range(tensor: Tensor) -> str:
    """`[1, 7, 64] from -2.1 to 3.4`."""
    shape = f"{list(tensor.shape)}"
    if not tensor.numel() or tensor.is_complex():
        return shape
    low, high = (float(one) for one in tensor.double().aminmax())
    return f"{shape} from {low:.4g} to {high:.4g}"
