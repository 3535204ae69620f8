"""How far a residual stream has moved: by layer and position, relative to what it was."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dap_server.engine.analysis.lens.residuals import CannotRead, Stream


@dataclass(frozen=True)
class Movement:
    """Of one sequence, from one forward to another over as many positions.

    Attributes:
        paths: of the places; empty for what goes into the first layer.
        relative: (L + 1, T) in float64, |new - old| / |old|, Euclidean; infinite where only the old one is 0.
        noise: what rounding alone may come to: the distance between neighbouring numbers around 1.
    """

    paths: list[str]
    relative: Tensor
    noise: float

    @property
    def first(self) -> int | None:
        """The first place that moved at all; None if none did."""
        return self._moved[0] if self._moved else None

    @property
    def last(self) -> int | None:
        """The last place that moved by more than rounding; None if none did."""
        above = [k for k, row in enumerate(self.relative) if not bool((row <= self.noise).all())]
        return above[-1] if above else None

    @property
    def _moved(self) -> list[int]:
        return [k for k, row in enumerate(self.relative) if not bool((row == 0).all())]

    @property
    def died_out(self) -> int | None:
        """The first place from which on nothing moves by more than rounding, if something did before it."""
        last = self.last if self.last is not None else self.first
        return None if last is None or last + 1 == len(self.paths) else last + 1


def movement(old: Stream, new: Stream, sequence: int, first: int = 0) -> Movement:
    """From one stream to another, from a position of the forward on, since those before it are padding.

    Raises CannotRead: they are not of the same layers and positions.
    """
    if old.paths != new.paths:
        raise CannotRead("other layers ran than without the edits: their residual streams cannot be compared")
    rows = []
    for k in range(len(old.paths)):
        before, after = old.row(k, sequence), new.row(k, sequence)
        if before.shape != after.shape:
            raise CannotRead("the forwards are over a different number of positions")
        rows.append(relative(before[first:], after[first:]))
    return Movement(old.paths, torch.stack(rows), float(torch.finfo(old.before.dtype).eps))


def relative(before: Tensor, after: Tensor) -> Tensor:
    """(T,) how far vectors (T, D) have moved, relative to what they were, in float64. NaN where one is not finite."""
    old, new = before.double(), after.double()
    moved = (new - old).norm(dim=-1)
    is_same = ((before == after) | (before.isnan() & after.isnan())).all(dim=-1)
    return torch.where(is_same, torch.zeros_like(moved), moved / old.norm(dim=-1))
