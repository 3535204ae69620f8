"""The modes of torch that a call was made in: gradients, inference, mixed precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

DEVICES = ("cpu", "cuda")
"""Kinds of devices on which operations run in mixed precision."""


class Modes:
    """Those of this thread, when this is made. A call that runs again, from within a stop of itself, gets the same."""

    def __init__(self) -> None:
        self._is_inference = torch.is_inference_mode_enabled()
        self._is_grad = torch.is_grad_enabled()
        self._autocast = [_autocast(device) for device in DEVICES]
        self._is_cached = torch.is_autocast_cache_enabled()

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        """While this is open, the thread is in these modes."""
        with contextlib.ExitStack() as stack:
            if torch.is_inference_mode_enabled() != self._is_inference:
                stack.enter_context(torch.inference_mode(self._is_inference))
            if torch.is_grad_enabled() != self._is_grad:
                stack.enter_context(torch.set_grad_enabled(self._is_grad))
            for device, (is_on, dtype) in zip(DEVICES, self._autocast, strict=True):
                if (is_on, dtype) != _autocast(device):
                    stack.enter_context(torch.autocast(device, dtype, is_on, self._is_cached))
            yield


def _autocast(device: str) -> tuple[bool, torch.dtype]:
    return torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
