"""Exact order statistics in bounded memory: elements are counted by the digits of a key that keeps their order.

An element of 16 bits has one of 65,536 values, so one pass that counts them tells everything. Wider ones have keys of
several digits of 16 bits; a value of a given rank is found digit by digit, one pass each (radix selection).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors import pieces as piecewise
from dap_server.engine.inspection.tensors.pieces import Between, unheard

Array = np.ndarray[Any, np.dtype[Any]]

DIGIT = 16
RADIX = 1 << DIGIT

WORTH_COUNTING = 1 << 18
"""Fewer elements are summed up faster than the counts of all values."""

_SIGNED = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_UNSIGNED = (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)


@dataclass(frozen=True)
class Counted:
    """How often each value occurs that does: (N,), in no order."""

    values: Array
    counts: Array


def is_countable(tensor: Tensor) -> bool:
    """Whether its elements have few values, and it has many elements."""
    narrow = not (tensor.is_quantized or tensor.is_complex()) and tensor.element_size() <= 2
    return narrow and tensor.numel() >= WORTH_COUNTING


@torch.no_grad()
def count_values(tensor: Tensor, between: Between = unheard) -> tuple[Counted, int]:
    """How often each value of an 8 or 16 bit dtype occurs; flat index of the first that is not finite, or -1."""
    kinds = 1 << 8 * tensor.element_size()
    codes = torch.arange(kinds, dtype=torch.int32).to(_SIGNED[tensor.element_size()])
    if tensor.dtype is torch.bool:
        codes, values = codes[:2], np.array([0.0, 1.0])
    else:
        values = codes.view(tensor.dtype).to(torch.float64).numpy()
    is_odd = torch.from_numpy(~np.isfinite(values)).to(tensor.device)
    has_odd = bool(is_odd.any())
    counts = torch.zeros(len(values), dtype=torch.int64, device=tensor.device)
    first, done = -1, 0
    for piece in piecewise.pieces(tensor, between):
        bits = piece.view(_SIGNED[piece.element_size()]).to(torch.int32).bitwise_and_(kinds - 1)
        found = torch.bincount(bits, minlength=len(values))
        counts += found
        if has_odd and first < 0 and bool(found[is_odd].any()):
            first = done + int(is_odd[bits].to(torch.uint8).argmax())
        done += piece.numel()
    occurring = counts.cpu().numpy()
    return Counted(values[occurring > 0], occurring[occurring > 0]), first


@torch.no_grad()
def select(tensor: Tensor, ranks: Sequence[int], between: Between = unheard) -> list[float]:
    """The finite elements that stand at these places, counted from 0, when all finite ones are sorted.

    Takes a pass over the tensor for every 16 bits of its elements.
    """
    passes = -(-8 * _width(tensor) // DIGIT)
    prefixes = dict.fromkeys(ranks, 0)  # the digits that are known of the key at each rank
    within = {rank: rank for rank in ranks}  # its rank among the keys that begin with those
    for step in range(passes):
        counts = _count_digits(tensor, set(prefixes.values()), passes, step, between)
        for rank, prefix in prefixes.items():
            upto = np.cumsum(counts[prefix])
            digit = int(np.searchsorted(upto, within[rank], side="right"))
            within[rank] -= int(upto[digit - 1]) if digit else 0
            prefixes[rank] = prefix * RADIX + digit
    return [_value(prefixes[rank], tensor) for rank in ranks]


def _count_digits(tensor: Tensor, prefixes: set[int], passes: int, step: int, between: Between) -> dict[int, Array]:
    """How often each digit comes next, among the keys that begin with each of these prefixes."""
    shift = DIGIT * (passes - 1 - step)
    counts = {prefix: torch.zeros(RADIX, dtype=torch.int64, device=tensor.device) for prefix in prefixes}

    def heard(done: int, total: int) -> None:
        between(step * total + done, passes * total)

    for piece in piecewise.pieces(tensor, heard):
        keys = _keys(piece)
        for prefix in prefixes:
            # The key is signed: its first digit begins at the lowest number.
            chosen = keys if step == 0 else keys[(keys >> (shift + DIGIT)) == prefix - (RADIX**step >> 1)]
            digits = (chosen >> shift).to(torch.int32)
            digits = digits + (RADIX >> 1) if step == 0 else digits.bitwise_and_(RADIX - 1)
            counts[prefix] += torch.bincount(digits, minlength=RADIX)
    return {prefix: found.cpu().numpy() for prefix, found in counts.items()}


def _width(tensor: Tensor) -> int:
    """Bytes of a key."""
    if tensor.is_quantized:
        return 4  # stands for a float32
    return max(tensor.element_size(), 2)


def _keys(piece: Tensor) -> Tensor:
    """Signed integers in the order of the finite elements of a piece (N,)."""
    if piece.dtype in _UNSIGNED or not piece.is_floating_point():
        if piece.dtype is torch.uint64:
            return piece.view(torch.int64) ^ (-1 << 63)
        if piece.dtype is torch.uint32:
            return (piece.to(torch.int64) - (1 << 31)).to(torch.int32)
        if piece.dtype is torch.uint16:
            return (piece.to(torch.int32) - (1 << 15)).to(torch.int16)
        return piece.to(torch.int16) if piece.element_size() < 2 else piece
    if piece.element_size() < 2:
        piece = piece.to(torch.bfloat16)  # holds every float8
    if not bool((finite := piece.isfinite()).all()):
        piece = piece[finite]
    bits = piece.view(_SIGNED[piece.element_size()])
    return bits ^ ((bits >> (8 * piece.element_size() - 1)) & torch.iinfo(bits.dtype).max)


def _value(key: int, tensor: Tensor) -> float:
    """The element of an unsigned key."""
    width = 8 * _width(tensor)
    signed = key - (1 << (width - 1))
    if tensor.dtype in (torch.uint16, torch.uint32, torch.uint64):
        return float(key)
    if tensor.is_quantized or tensor.is_floating_point():
        bits = signed ^ ((1 << (width - 1)) - 1) if signed < 0 else signed
        kind = torch.float32 if tensor.is_quantized else torch.bfloat16 if tensor.element_size() < 2 else tensor.dtype
        return float(torch.tensor(bits, dtype=_SIGNED[width // 8]).view(kind))
    return float(signed)
