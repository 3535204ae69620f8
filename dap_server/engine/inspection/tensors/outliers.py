"""The elements of a tensor that stand out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dap_server.engine.inspection.tensors.pieces import Between, pieces, unheard


class Element(NamedTuple):
    """One number of a tensor, and where it stands."""

    place: tuple[int, ...]
    value: float


@torch.no_grad()
def farthest(tensor: Tensor, count: int, between: Between = unheard) -> list[Element]:
    """The finite elements that are farthest from 0, those first; of equal ones the first in row-major order.

    Raises:
        TypeError: its elements cannot be read.
    """
    found: list[tuple[float, int]] = []
    before = 0
    for piece in pieces(tensor, between):
        values = piece.to(torch.float64)
        distances = values.abs().masked_fill_(~values.isfinite(), -1)
        top = distances.topk(min(count, len(distances))).indices
        found += zip(values[top].tolist(), (top + before).tolist(), strict=True)
        found = sorted((one for one in found if np.isfinite(one[0])), key=lambda one: (-abs(one[0]), one[1]))[:count]
        before += len(values)
    shape = tuple(tensor.shape)
    return [Element(tuple(int(i) for i in np.unravel_index(flat, shape)), value) for value, flat in found]
