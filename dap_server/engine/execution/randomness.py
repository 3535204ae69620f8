"""The state of all random number generators that a model may draw from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(slots=True)
class RandomState:
    """A moment of torch's, Python's and NumPy's generators. Equal parts of consecutive moments are one object."""

    cpu: Tensor
    accelerator: Tensor | None
    python: tuple[Any, ...]
    numpy: Any


def capture(device: torch.device, last: RandomState | None = None, host: bool = True) -> RandomState:
    """The present moment; parts that have not moved since `last` are shared with it.

    `host` False takes Python's and NumPy's state from `last`: asking for them costs more than a small model's layer.
    """
    cpu = _pack(torch.get_rng_state())
    accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    if last is None:
        return RandomState(cpu, accelerator, random.getstate(), np.random.get_state())
    cpu = last.cpu if torch.equal(cpu, last.cpu) else cpu
    accelerator = last.accelerator if _same(accelerator, last.accelerator) else accelerator
    if not host:
        return RandomState(cpu, accelerator, last.python, last.numpy)
    python, numpy = random.getstate(), np.random.get_state()
    return RandomState(
        cpu,
        accelerator,
        last.python if python == last.python else python,
        last.numpy if _same_numpy(numpy, last.numpy) else numpy,
    )


def restore(state: RandomState, device: torch.device) -> None:
    torch.set_rng_state(_unpack(state.cpu))
    if state.accelerator is not None:
        torch.cuda.set_rng_state(state.accelerator, device)
    random.setstate(state.python)
    np.random.set_state(state.numpy)


@contextmanager
def kept(device: torch.device) -> Iterator[None]:
    """Leaves every generator as it was found."""
    state = capture(device)
    try:
        yield
    finally:
        restore(state, device)


_TWISTER = slice(3, 627)
"""Where the 624 words of the Mersenne twister lie among the 64-bit words of torch's state."""


def _pack(state: Tensor) -> Tensor:
    """Half the bytes of a CPU state: the twister's words have 32 bits and are stored in 64."""
    words = state.view(torch.int64)
    rest = torch.cat([words[: _TWISTER.start], words[_TWISTER.stop :]])
    return torch.cat([rest.view(torch.uint8), words[_TWISTER].to(torch.int32).view(torch.uint8)])


def _unpack(packed: Tensor) -> Tensor:
    count = _TWISTER.stop - _TWISTER.start
    rest = packed[: -4 * count].view(torch.int64)
    twister = packed[-4 * count :].clone().view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    return torch.cat([rest[: _TWISTER.start], twister, rest[_TWISTER.start :]]).view(torch.uint8)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b or (a is not None and b is not None and torch.equal(a, b))


def _same_numpy(a: Any, b: Any) -> bool:
    return a[2:] == b[2:] and np.array_equal(a[1], b[1])
