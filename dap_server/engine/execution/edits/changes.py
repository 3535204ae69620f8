"""What an edit does to the elements that it selects."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Change:
    """A change as data.

    Attributes:
        kind: set, zero, mean, resample, noise, scale, clamp, steer, projectOut, skip, freeze, patch, force, ban, bias.
        number: of `set`, `scale`, `noise`, `steer`, `bias`.
        tokens: of `force`, `ban` and `bias`.
        tensor: of `set`, `patch`, `steer`, `projectOut`.
    """

    kind: str
    number: float | None = None
    low: float | None = None
    high: float | None = None
    seed: int | None = None
    tokens: tuple[int, ...] = ()
    tensor: Tensor | None = None

    def applied(self, value: Tensor, mask: Tensor) -> Tensor:
        """Another tensor of the same shape and dtype; where the mask is False its elements are the same bits."""
        number = 0.0 if self.number is None else self.number
        if self.kind == "scale":
            return torch.where(mask, value * number, value)
        new = torch.zeros_like(value) if self.kind == "zero" else torch.full_like(value, number)
        return torch.where(mask, new, value)
