"""Which elements of a value an edit changes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Numbers = tuple[int, ...] | None


@dataclass(frozen=True)
class Selection:
    """Some elements of a value (B, T, …, D); None is all along an axis.

    Attributes:
        positions: columns of the whole text, padding included; a value of a step holds some of them.
        neurons: along the last axis.
    """

    sequences: Numbers = None
    positions: Numbers = None
    neurons: Numbers = None

    def mask(self, value: Tensor, first: int) -> Tensor:
        """Boolean, of the shape of a value whose axis T begins with column `first` of the text."""
        mask = torch.ones(value.shape, dtype=torch.bool, device=value.device)
        for axis, numbers, start in ((0, self.sequences, 0), (1, self.positions, first), (-1, self.neurons, 0)):
            if numbers is not None:
                size = value.shape[axis]
                along = torch.tensor([start + i in numbers for i in range(size)], device=value.device)
                shape = [1] * value.dim()
                shape[axis] = size
                mask &= along.view(shape)
        return mask
