"""Tensors in one line, and elements as text.

A line costs no look at the values unless the tensor is small; nothing here copies more than the page that is asked for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dap_server.engine.execution import memory
from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.statistics import Statistics, statistics

SMALL_NUMEL = 1 << 14
"""Tensors on the host of at most this many elements show their summary in the line itself (about 0.1 ms)."""

FEW = 12
"""So many integers are written out in a line."""


def type_line(tensor: Tensor) -> str:
    """`float32 [1, 7, 128] cpu`: never looks at a value."""
    return f"{dtype_name(tensor.dtype)} {shape_text(tensor)} {tensor.device}"


def shape_text(tensor: Tensor) -> str:
    """`[1, 7, 128]`; `?` for a size that is not one number."""
    if kinds.is_uninitialized(tensor):
        return "[?]"
    sizes: list[str] = []
    for axis in range(tensor.dim()):
        try:
            size = tensor.size(axis)
        except RuntimeError:
            size = None
        sizes.append(str(size) if type(size) is int else "?")  # a ragged one is a symbol
    return f"[{', '.join(sizes)}]"


@torch.no_grad()
def line(tensor: Tensor) -> str:
    """One line for a tensor: dtype, shape, device, and what its values are like when that is cheap."""
    head, kind = type_line(tensor), kinds.kind(tensor)
    if kind:
        return f"{head}{f' {kind}' if kind != str(tensor.device) else ''}"
    if tensor.numel() == 0:
        return f"{head} empty"
    if not _is_near(tensor) or tensor.is_complex():
        return f"{number(tensor)} · {head}" if _is_near(tensor) and tensor.numel() == 1 else head
    try:
        return _line_with_values(tensor, head)
    except RuntimeError as error:  # a dtype that torch knows no arithmetic for
        if memory.explained(error) is not error:
            raise
        return head


def _line_with_values(tensor: Tensor, head: str) -> str:
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
    wide = tensor if tensor.dtype is not torch.uint64 else tensor.to(torch.float64)  # torch has no order for unsigned
    low, high = wide.to(torch.float64 if wide.is_floating_point() else torch.int64).aminmax()
    return f"in [{int(low)}, {int(high)}]"


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
    """The elements of a tensor (N,) as text; the bits of those that torch cannot convert."""
    if values.is_meta:
        return ["?"] * values.shape[0]
    values = values.detach()
    if values.is_quantized:
        values = values.dequantize()
    try:
        if values.is_floating_point():
            wide = values.to("cpu", torch.float64 if values.dtype is torch.float64 else torch.float32)
            return [str(x) for x in wide.numpy()]
        return [str(x) for x in values.cpu().tolist()]
    except (NotImplementedError, RuntimeError):
        if values.element_size() != 1:
            raise
        return [f"0x{x:02x}" for x in values.contiguous().view(torch.uint8).cpu().tolist()]


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _is_near(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.numel() <= SMALL_NUMEL
