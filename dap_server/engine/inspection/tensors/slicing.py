"""A page of one or two axes out of a tensor of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from dap_server.engine.execution import memory
from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.axes import BATCH, Axes
from dap_server.engine.inspection.tensors.raw_bytes import UnfitTensor

Pick = int | tuple[int, int]
"""An index of an axis, or its start and end."""


@dataclass(frozen=True)
class Page:
    """What was picked of every axis, and the numbers there: one or two axes."""

    values: Tensor
    picks: tuple[Pick, ...]
    axes: Axes

    def labels(self, axis: int, block: int) -> list[str] | None:
        """The token at every `block`-th position of an axis that was not fixed."""
        label, pick = self.axes.label(axis), self.picks[axis]
        if label is None or isinstance(pick, int):
            return None
        return [label(i) for i in range(*pick, block)]


def page(tensor: Tensor, axes: Axes, slices: Sequence[int | Sequence[int] | None]) -> Page:
    """Views what is picked; nothing is copied, but of a quantised tensor the numbers that it stands for.

    Args:
        slices: by axis, None for all of it. Of the axes that follow the last two are taken whole, others at 0.

    Raises:
        UnfitTensor: it has no elements that can be read.
        NotEnoughMemory: the numbers that a quantised one stands for do not fit.
        ValueError: slices that do not fit.
    """
    if not kinds.is_readable(tensor):
        raise UnfitTensor(f"there is nothing to show: {kinds.why_not(tensor)}")
    if tensor.is_complex():
        raise UnfitTensor("complex numbers are no picture: ask for `.real`, `.imag` or `.abs()` of it")
    if len(slices) > tensor.dim():
        raise ValueError(f"{len(slices)} slices are more than the tensor has axes, {tensor.dim()}")
    given = [_pick(axes.names[i], tensor.shape[i], one) for i, one in enumerate(slices)]
    left = 2 - sum(not isinstance(pick, int) for pick in given)
    if left < 0:
        raise ValueError("more than two axes are left: give an index for the others")
    rest = range(len(slices), tensor.dim())
    picks = [*given, *((0, tensor.shape[i]) if i >= tensor.dim() - left else 0 for i in rest)]
    for i in rest:
        if picks[i] == 0 and not tensor.shape[i]:
            raise ValueError(f"axis {i} ({axes.names[i]}) is empty")
    sequence = next((pick for name, pick in zip(axes.names, picks, strict=True) if name == BATCH), None)
    known = replace(axes, sequence=sequence) if isinstance(sequence, int) else axes
    values = _values(tensor.detach(), picks)
    return Page(values if values.dim() else values.reshape(1), tuple(picks), known)


def _values(tensor: Tensor, picks: Sequence[Pick]) -> Tensor:
    if not tensor.is_quantized:
        return tensor[tuple(pick if isinstance(pick, int) else slice(*pick) for pick in picks)]
    # torch cannot take a single index of one that has a scale for each channel
    part = tensor[tuple(slice(pick, pick + 1) if isinstance(pick, int) else slice(*pick) for pick in picks)]
    memory.require(4 * part.numel(), part.device, "the numbers that it stands for", "ask for a smaller page")
    return part.dequantize()[tuple(0 if isinstance(pick, int) else slice(None) for pick in picks)]


def _pick(name: str, size: int, one: int | Sequence[int] | None) -> Pick:
    if one is None:
        return 0, size
    if isinstance(one, int):
        if not -size <= one < size:
            raise ValueError(f"index {one} is outside of {name}, which has {size}")
        return one % size
    if len(one) != 2 or not 0 <= one[0] <= one[1] <= size:
        raise ValueError(f"{list(one)} is no [start, end] within {name}, which has {size}")
    return one[0], one[1]
