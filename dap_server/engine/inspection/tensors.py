"""Tensors in one line, their statistics, and pages of their elements.

A line costs no look at the values unless the tensor is small; nothing here copies more than the page that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SMALL_NUMEL = 1 << 14
"""Tensors on the host of at most this many elements show their summary in the line itself (about 0.1 ms)."""


FEW = 12
"""So many integers are written out in a line."""


@dataclass(frozen=True)
class Statistics:
    """Of all elements, in float64. Mean, std, min, max and norm are of the finite ones; NaN when there are none.

    Attributes:
        std: of the population, `sqrt(mean((x - mean)²))`.
        norm: Euclidean.
        first_non_finite: index of the first NaN or infinity.
    """

    count: int
    mean: float
    std: float
    min: float
    max: float
    norm: float
    zeros: int
    nan: int
    positive_inf: int
    negative_inf: int
    first_non_finite: tuple[int, ...] | None

    @property
    def non_finite(self) -> int:
        return self.nan + self.positive_inf + self.negative_inf


@torch.no_grad()
def statistics(tensor: Tensor) -> Statistics:
    """Exact statistics of a dense real tensor, on its device.

    Raises:
        TypeError: a complex or meta tensor, which has no order or no values.
    """
    if tensor.is_complex() or tensor.is_meta:
        raise TypeError(f"no statistics of a {'meta' if tensor.is_meta else 'complex'} tensor")
    values = tensor.detach().to(torch.float64)
    finite = values.isfinite()
    good = values[finite]
    nan = math.nan
    mean = good.mean().item() if good.numel() else nan
    return Statistics(
        count=values.numel(),
        mean=mean,
        std=(good - mean).square().mean().sqrt().item() if good.numel() else nan,
        min=good.min().item() if good.numel() else nan,
        max=good.max().item() if good.numel() else nan,
        norm=good.norm().item(),
        zeros=int((values == 0).sum()),
        nan=int(values.isnan().sum()),
        positive_inf=int(values.isposinf().sum()),
        negative_inf=int(values.isneginf().sum()),
        first_non_finite=None if good.numel() == values.numel() else _first(~finite),
    )


def _first(mask: Tensor) -> tuple[int, ...]:
    flat = int(mask.flatten().to(torch.uint8).argmax())
    return tuple(int(i) for i in np.unravel_index(flat, tuple(mask.shape)))


def type_line(tensor: Tensor) -> str:
    """`float32 [1, 7, 128] cpu`: never looks at a value."""
    return f"{dtype_name(tensor.dtype)} {list(tensor.shape)} {tensor.device}"


def line(tensor: Tensor) -> str:
    """One line for a tensor: dtype, shape, device, and what its values are like when that is cheap."""
    head = type_line(tensor)
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return f"{head} {str(tensor.layout).removeprefix('torch.')}{' quantized' if tensor.is_quantized else ''}"
    if tensor.numel() == 0:
        return f"{head} empty"
    if not _is_near(tensor) or tensor.is_complex():
        return head
    if tensor.numel() == 1:
        return f"{number(tensor)} · {head}"
    if tensor.dtype is torch.bool:
        return f"{head} · {int(tensor.sum())} of {tensor.numel()} true"
    if not tensor.is_floating_point():
        return f"{head} · {_integers(tensor)}"
    return f"{head} · {summary(statistics(tensor))}"


def _integers(tensor: Tensor) -> str:
    """A few integers themselves, the range of many: their mean says nothing."""
    if tensor.numel() <= FEW:
        return str(tensor.tolist())
    return f"in [{int(tensor.min())}, {int(tensor.max())}]"


def summary(stats: Statistics) -> str:
    """`0.01 ± 1.2 in [-4.1, 3.9]`, and what is not finite."""
    parts = (
        [] if math.isnan(stats.mean) else [f"{stats.mean:.4g} ± {stats.std:.4g} in [{stats.min:.4g}, {stats.max:.4g}]"]
    )
    for count, name in ((stats.nan, "NaN"), (stats.positive_inf, "inf"), (stats.negative_inf, "-inf")):
        if count:
            parts.append(f"{count} {name}")
    return ", ".join(parts)


def number(element: Tensor) -> str:
    """The one element of a tensor, with the digits that tell it from its neighbours in its dtype."""
    return numbers(element.detach().reshape(1))[0]


@torch.no_grad()
def numbers(values: Tensor) -> list[str]:
    """The elements of a tensor (N,) as text."""
    if values.is_meta:
        return ["?"] * values.shape[0]
    if values.is_floating_point():
        wide = values.detach().to("cpu", torch.float64 if values.dtype is torch.float64 else torch.float32)
        return [str(x) for x in wide.numpy()]
    return [str(x) for x in values.detach().cpu().tolist()]


def rows(tensor: Tensor, start: int, count: int) -> Iterator[Tensor]:
    """Views of the first axis, from `start`, at most `count`."""
    yield from tensor.detach()[start : start + count]


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_near(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.numel() <= SMALL_NUMEL
