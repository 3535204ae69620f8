"""The elements of a tensor in order, a piece at a time, so that work on them takes little memory and can be ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import kinds

PIECE_NUMEL = 1 << 20
"""8 MB in float64."""

Between = Callable[[int, int], None]
"""Called between pieces with how many elements are done and how many there are; what it raises ends the work."""


def unheard(_done: int, _total: int) -> None:
    """Nobody waits."""


def pieces(tensor: Tensor, between: Between = unheard) -> Iterator[Tensor]:
    """The elements in row-major order, as flat tensors of at most `PIECE_NUMEL`.

    Quantised ones come as the numbers that they stand for.

    Raises:
        TypeError: its elements cannot be read.
    """
    if not kinds.is_readable(tensor):
        raise TypeError(kinds.why_not(tensor))
    done, total = 0, tensor.numel()
    for part in _parts(tensor.detach()):
        between(done, total)
        plain = part.dequantize() if part.is_quantized else part
        yield plain.reshape(-1)
        done += part.numel()


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    """Views that follow each other: of a tensor in whatever strides, none needs a copy of more than a piece."""
    if tensor.numel() <= PIECE_NUMEL:
        yield tensor
        return
    if not tensor.is_quantized and tensor.is_contiguous():
        yield from torch.split(tensor.view(-1), PIECE_NUMEL)
        return
    each = tensor.numel() // tensor.shape[0]
    if each > PIECE_NUMEL:
        for i in range(tensor.shape[0]):
            yield from _parts(tensor[i])
    else:
        yield from torch.split(tensor, PIECE_NUMEL // each)


@torch.no_grad()
def elements(tensor: Tensor, first: int, end: int) -> Tensor:
    """The elements from one flat index to another, in row-major order: (N,). A view where they lie so in memory."""
    flat = tensor.detach()
    if flat.is_contiguous():
        return flat.reshape(-1)[first:end]
    return at(flat, torch.arange(first, end, device=flat.device))


def at(tensor: Tensor, indices: Tensor) -> Tensor:
    """Copies of the elements at flat indices (N,)."""
    if tensor.dim() == 0:
        return tensor.reshape(1)[indices]
    return tensor[torch.unravel_index(indices, tensor.shape)]
