"""The vector of the last position, which stands for what a module was given or gave."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def first_tensor(value: Any, is_any: bool = False) -> Tensor | None:
    """The first tensor of floating-point numbers in a value, or the first of all; None without one."""
    if isinstance(value, Tensor):
        return value if is_any or value.is_floating_point() else None
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return next((found for item in value if (found := first_tensor(item, is_any)) is not None), None)
    return None


def last_norm(value: Any, sequence: int, sequences: int = 1) -> float | None:
    """Euclidean norm of the last position's vector of one of B sequences; None where no vectors are."""
    vector = last_vector(value, sequence, sequences)
    return None if vector is None else float(vector.double().norm())


def last_vector(value: Any, sequence: int, sequences: int = 1) -> Tensor | None:
    """(D,) of the last position of one of B sequences, in the first tensor (B, T, …, D) or (B, D).

    Some modules are given all positions in one row after another, (B · T, D). None without such a tensor.
    """
    tensor = first_tensor(value)
    if tensor is None or tensor.dim() < 2 or not tensor.numel():
        return None
    rows = tensor.shape[0]
    each = rows // sequences if rows % sequences == 0 else 0  # more than one: beams, or positions
    row = min(sequence, rows - 1)
    if each > 1:
        row = sequence * each + (each - 1 if tensor.dim() == 2 else 0)
    mine = tensor[row]
    while mine.dim() > 1:
        mine = mine[-1]
    return mine
