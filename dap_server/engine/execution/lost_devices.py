"""Exceptions after which a device is lost to the process, such as an assertion in a kernel of CUDA."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def is_lost(error: BaseException | None, model: nn.Module) -> bool:
    """Whether, after an exception of a run of a model, nothing runs any more on a device that its weights are on.

    Asked of the device itself: others of its errors, such as a launch with too many threads, leave it as it was.
    """
    if not _is_of_device(error):
        return False
    first: dict[torch.device, Tensor] = {}
    for held in itertools.chain(model.parameters(), model.buffers()):
        if not held.is_meta and held.numel():
            first.setdefault(held.device, held)
    return not all(map(_answers, first.values()))


def _is_of_device(error: BaseException | None) -> bool:
    """Libraries that run there, as cuBLAS, tell it as a plain error."""
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in str(error))


def _answers(held: Tensor) -> bool:
    try:
        held[(0,) * held.dim()].item()
    except Exception:
        return False
    return True
