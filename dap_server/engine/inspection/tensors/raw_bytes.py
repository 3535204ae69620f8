"""The bytes of a tensor's elements in row-major order, whatever its strides; read and written in place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.pieces import elements
from dap_server.protocol.errors import RequestError

PAGE = 1 << 30
"""Bytes between two references to one tensor: clients count offsets in 32 bits."""

AT_ONCE = 1 << 24
"""Bytes that one request may read."""


class UnfitTensor(RequestError):
    """A value cannot be read, written, copied or saved in this way; the text says what can be done."""

    id = 33


@dataclass(frozen=True)
class Memory:
    """The bytes of a tensor from a page of it on.

    Attributes:
        is_live: whether the run uses this very tensor: writing into a copy would change nothing, and look as if.
        base: byte that offsets count from.
    """

    tensor: Tensor
    is_live: bool = False
    base: int = 0

    @property
    def size(self) -> int:
        """Bytes of the whole tensor."""
        return self.tensor.numel() * self.tensor.element_size()

    @torch.no_grad()
    def read(self, first: int, end: int) -> bytes:
        """Bytes of the tensor, counted from its first one; `0 <= first <= end <= size`.

        Raises:
            UnfitTensor: too many at once, or it has none.
        """
        if end - first > AT_ONCE:
            raise UnfitTensor(f"{end - first:,} bytes are too many at once: ask for at most {AT_ONCE:,}")
        if not kinds.is_readable(self.tensor):
            raise UnfitTensor(f"there are no bytes to read: {kinds.why_not(self.tensor)}")
        if first == end:
            return b""
        width = self.tensor.element_size()
        start = first // width
        whole = _bytes(elements(self.tensor, start, -(-end // width)))
        return whole[first - start * width : end - start * width]

    @torch.no_grad()
    def write(self, first: int, data: bytes) -> None:
        """Puts bytes into the tensor itself; they end within it.

        Raises:
            UnfitTensor: the run would not notice, or its elements share memory.
        """
        if not self.is_live:
            raise UnfitTensor("this value was worked out for you: writing into it would change nothing in the run")
        if kinds.kind(self.tensor):
            raise UnfitTensor(f"the bytes of a tensor that is {kinds.kind(self.tensor)} cannot be written")
        if any(step == 0 and size > 1 for size, step in zip(self.tensor.shape, self.tensor.stride(), strict=True)):
            raise UnfitTensor("its elements share memory (it is expanded): writing one would write several")
        width, end = self.tensor.element_size(), first + len(data)
        start, stop = first // width, -(-end // width)
        changed = bytearray(_bytes(elements(self.tensor, start, stop)))
        changed[first - start * width : end - start * width] = data
        values = torch.frombuffer(changed, dtype=torch.uint8).view(self.tensor.dtype).to(self.tensor.device)
        target = self.tensor.detach()
        if target.is_contiguous():
            target.view(-1)[start:stop].copy_(values)
        else:
            indices = torch.arange(start, stop, device=target.device)
            target[torch.unravel_index(indices, target.shape)] = values


def _bytes(values: Tensor) -> bytes:
    """Of elements (N,), N > 0."""
    if values.is_quantized:
        values = values.int_repr()
    plain = values.resolve_conj().resolve_neg().cpu().contiguous()
    return plain.view(torch.uint8).numpy().tobytes()
