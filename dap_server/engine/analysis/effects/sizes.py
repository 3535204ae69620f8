"""How large the values are that an edit puts in a place, beside those that the place has of itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.checking import modules_of
from dap_server.engine.execution.edits.edit import Edit, ModuleValue, StoredValue
from dap_server.engine.execution.watchable import holder_of

FAR = 5.0
"""So many times as large as the place's own values is far outside of their range."""


@dataclass(frozen=True)
class Size:
    """Of the values in a place.

    Attributes:
        norm: the largest Euclidean norm of a vector along the last axis.
        largest: the largest number, without its sign.
    """

    norm: float = 0.0
    largest: float = 0.0

    def joined(self, other: Size) -> Size:
        return Size(_largest(self.norm, other.norm), _largest(self.largest, other.largest))


@dataclass(frozen=True)
class Outlier:
    """An edit whose values are far outside of the range of the place's own.

    Attributes:
        edit: its number.
        where: path of the module, or name of the parameter.
        factor: how many times as large; infinite where the place's own are all 0, NaN where the new are not finite.
    """

    edit: int
    where: str
    own: Size
    new: Size
    factor: float


def factor(own: Size, new: Size) -> float:
    """How many times as large the new values are, by norm or by the largest number."""
    ratios = []
    for before, after in ((own.norm, new.norm), (own.largest, new.largest)):
        if after != after or after == float("inf"):
            return float("nan")
        ratios.append(0.0 if after == 0 else after / before if before else float("inf"))
    return max(ratios)


class SizeProbe:
    """Measures the places that edits are about in one run of a step."""

    def __init__(self, edits: Sequence[Edit], anatomy: Anatomy) -> None:
        self.found: dict[tuple[int, str], Size] = {}
        self._anatomy = anatomy
        self._parameters: list[tuple[int, str]] = []
        self._by_path: dict[str, list[tuple[int, ModuleValue]]] = {}
        for edit in edits:
            if isinstance(edit.target, StoredValue) and edit.target.kind == "parameter":
                self._parameters.append((edit.id, edit.target.name))
            elif isinstance(edit.target, ModuleValue):
                for path in modules_of(edit.target.path, anatomy):
                    self._by_path.setdefault(path, []).append((edit.id, edit.target))

    def begins(self, path: str, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """A call of a module, or of the whole model."""
        if path == "":
            for id, name in self._parameters:
                self._measure(id, name, _stored(self._anatomy, name))
        for id, target in self._by_path.get(path, ()):
            if target.value == "input":
                self._measure(id, path, _part([*args, *kwargs.values()], target.part, dict(kwargs)))

    def ends(self, path: str, output: Any) -> None:
        for id, target in self._by_path.get(path, ()):
            if target.value == "output":
                named = dict(output) if isinstance(output, dict) else {}
                items = [output] if isinstance(output, Tensor) else list(named.values()) or output
                self._measure(id, path, _part(items, target.part, named))

    def _measure(self, id: int, where: str, value: Tensor | None) -> None:
        if value is not None and value.numel() and value.is_floating_point():
            seen = self.found.get((id, where), Size())
            self.found[id, where] = seen.joined(size_of(value))


def size_of(value: Tensor) -> Size:
    """Of a tensor (…, D)."""
    flat = value.detach().reshape(-1, value.shape[-1]) if value.dim() else value.detach().reshape(1, 1)
    return Size(
        float(torch.linalg.vector_norm(flat, dim=-1, dtype=torch.float64).max()), float(flat.abs().max().double())
    )


def outliers(own: dict[tuple[int, str], Size], new: dict[tuple[int, str], Size]) -> list[Outlier]:
    """Of every edit the worst place, where that is far outside, or not finite."""
    worst: dict[int, Outlier] = {}
    for (id, where), size in new.items():
        before = own.get((id, where), Size())
        found = Outlier(id, where, before, size, factor(before, size))
        if not found.factor <= FAR and (id not in worst or not found.factor <= worst[id].factor):
            worst[id] = found
    return list(worst.values())


def _part(items: Any, part: str | int | None, named: dict[str, Any]) -> Tensor | None:
    """The tensor that an edit of a module's value is about."""
    if isinstance(part, str):
        found = named.get(part)
        return found if isinstance(found, Tensor) else None
    if not isinstance(items, list | tuple):
        return None
    tensors = [item for item in items if isinstance(item, Tensor)]
    if part is None:
        return tensors[0] if tensors else None
    item = items[part] if part < len(items) else None
    return item if isinstance(item, Tensor) else None


def _stored(anatomy: Anatomy, name: str) -> Tensor | None:
    holder = holder_of(name, anatomy)
    found = None if holder is None else getattr(anatomy.modules[holder[0]], holder[1], None)
    return found if isinstance(found, Tensor) else None


def _largest(one: float, other: float) -> float:
    return one if one != one or one > other else other
