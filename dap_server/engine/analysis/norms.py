"""The vector of the last position, which stands for what a module was given or gave."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.linalg import vector_norm


def first_tensor(value: Any, is_any: bool = False) -> Tensor | None:
    """The first tensor of floating-point numbers in a value, or the first of all; None without one."""
    if isinstance(value, Tensor):
        return value if is_any or value.is_floating_point() else None
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            if (found := first_tensor(item, is_any)) is not None:
                return found
    return None


def last_norm(value: Any, sequence: int, sequences: int = 1) -> float | None:
    """Euclidean norm of the last position's vector of one of B sequences; None where no vectors are."""
    norm = unread_norm(value, sequence, sequences)
    return None if norm is None else norm.item()


def unread_norm(value: Any, sequence: int, sequences: int = 1) -> Tensor | None:
    """() the same in float64, which nobody has read."""
    last = _last(value, sequence, sequences)
    return None if last is None else vector_norm(last, dtype=torch.float64)


def last_vector(value: Any, sequence: int, sequences: int = 1) -> Tensor | None:
    """(D,) of the last position of one of B sequences, in the first tensor (B, T, …, D) or (B, D).

    Some modules are given all positions in one row after another, (B · T, D). None without such a tensor.
    """
    last = _last(value, sequence, sequences)
    return None if last is None else last.reshape(-1)


def _last(value: Any, sequence: int, sequences: int) -> Tensor | None:
    """That vector, as a tensor with D elements."""
    tensor = first_tensor(value)
    if tensor is None or tensor.dim() < 2 or not (count := tensor.numel()):
        return None
    if count == tensor.shape[-1]:
        return tensor
    rows = tensor.shape[0]
    each = rows // sequences if rows % sequences == 0 else 0  # more than one: beams, or positions
    row = min(sequence, rows - 1)
    if each > 1:
        row = sequence * each + (each - 1 if tensor.dim() == 2 else 0)
    return tensor[(row, *[-1] * (tensor.dim() - 2))]
