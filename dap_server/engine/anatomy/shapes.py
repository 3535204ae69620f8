"""Shapes as a map writes them: by what they follow when the text changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

Shape = tuple[int, ...]
Unit = tuple[str, int]
"""The name of a size of the text, and the size."""

OPEN = "…"
"""An axis whose length follows the text in another way than as a multiple."""


def first_tensor(value: Any) -> Tensor | None:
    """The first tensor of what a module is given or returns, in containers too."""
    if isinstance(value, Tensor):
        return value
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple):
        inner = value
    elif dataclasses.is_dataclass(value):
        inner = vars(value).values()
    return next((found for one in inner if (found := first_tensor(one)) is not None), None)


def shape_text(one: Shape | None, other: Shape | None, units: list[tuple[Unit, Unit]]) -> str:
    """`(B, T, 192)` of the shapes that one tensor has in two texts, whose sizes are given; `()` for no tensor."""
    if one is None:
        return "()"
    if other is None or len(one) != len(other):
        return f"({OPEN})"
    return f"({', '.join(_axis(a, b, units) for a, b in zip(one, other, strict=True))})"


def _axis(one: int, other: int, units: list[tuple[Unit, Unit]]) -> str:
    if one == other:
        return str(one)
    for (name, a), (_, b) in units:
        if one % a == 0 and other % b == 0 and one // a == other // b:
            return name if one == a else f"{one // a}·{name}"
    for (name, a), (_, b) in units:
        for times in (1, 2):
            more = one - times * a
            if more == other - times * b:
                return f"{name if times == 1 else f'2·{name}'}{'+' if more > 0 else '-'}{abs(more)}"
    return OPEN
