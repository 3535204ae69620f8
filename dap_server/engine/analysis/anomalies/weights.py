"""Which weight of a layer is out of line with those of its name in the other layers."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy

LOOKED_AT = 1 << 16
"""Elements of a weight that its size is told from, evenly spread."""

OUT_OF_LINE = 8.0
"""Times as large or small as in the other layers."""


class OddWeight(NamedTuple):
    """A weight, by its path, and how many times as large as elsewhere it is: NaN or infinite where it is not finite."""

    path: str
    times: float


def odd_weight(layer: str, anatomy: Anatomy) -> OddWeight | None:
    """The one that is furthest out of line in a layer; None where all are as elsewhere, or there is no elsewhere."""
    others = [path for path in anatomy.stack_of(layer) if path != layer]
    if layer not in anatomy.layer_paths or not others:
        return None
    sizes = {path: _sizes(path, anatomy) for path in [layer, *others]}
    found: list[tuple[float, OddWeight]] = []
    for name, size in sizes[layer].items():
        elsewhere = [sizes[path][name] for path in others if name in sizes[path]]
        usual = float(torch.stack(elsewhere).median()) if elsewhere else 0.0
        mine = float(size)
        if usual > 0 or not math.isfinite(mine):  # what is zero elsewhere has not been learnt
            times = mine / usual if math.isfinite(mine) else mine
            distance = max(times, 1 / times) if times > 0 else math.inf  # of NaN too
            found.append((distance, OddWeight(f"{layer}.{name}", times)))
    worst = max(found, default=None, key=lambda each: each[0])
    return worst[1] if worst is not None and worst[0] > OUT_OF_LINE else None


@torch.no_grad()
def _sizes(path: str, anatomy: Anatomy) -> dict[str, Tensor]:
    """() root mean square of every parameter of a layer, by its name in it."""
    named = anatomy.modules[path].named_parameters()
    return {name: _size(parameter) for name, parameter in named if parameter.is_floating_point() and parameter.numel()}


def _size(parameter: Tensor) -> Tensor:
    every = max(parameter.numel() // LOOKED_AT, 1)
    return parameter.detach().flatten()[::every].double().square().mean().sqrt()
