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

from dap_server.protocol.errors import RequestError

HOST_MOMENTS = 3
"""Behind the first moment of a call, in how many Python's and NumPy's generators are asked whether they have moved.

A model that draws from them does so in its first steps; else they are not asked again.
"""


@dataclass(slots=True)
class RandomState:
    """A moment of torch's, Python's and NumPy's generators. Equal parts of consecutive moments are one object."""

    cpu: Tensor
    accelerator: Tensor | None
    python: tuple[Any, ...]
    numpy: Any

    def is_same(self, other: RandomState) -> bool:
        """Whether all parts are shared with another moment."""
        return (
            self.cpu is other.cpu
            and self.accelerator is other.accelerator
            and self.python is other.python
            and self.numpy is other.numpy
        )


_latest: dict[torch.device, tuple[RandomState, bytes]] = {}
"""The moment captured last, with torch's state as torch gives it, which is quick to compare."""


def capture(device: torch.device, asks_host: bool = True) -> RandomState:
    """The present moment. What has not moved since the one captured last is shared with it, or is it.

    `asks_host`: whether Python's and NumPy's generators are asked. That costs more than a small model's layer.
    """
    state = torch.get_rng_state()
    raw = state.numpy().tobytes()
    accelerator = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    known = _latest.get(device)
    if known is None:
        moment = RandomState(_pack(state), accelerator, random.getstate(), np.random.get_state())
    else:
        last, last_raw = known
        moment = RandomState(last.cpu if raw == last_raw else _pack(state), last.accelerator, last.python, last.numpy)
        if accelerator is not None and last.accelerator is not None and not torch.equal(accelerator, last.accelerator):
            moment.accelerator = accelerator
        if asks_host:
            _ask_host(moment)
        if moment.is_same(last):
            moment = last
    _latest[device] = moment, raw
    return moment


def _ask_host(moment: RandomState) -> None:
    python, numpy = random.getstate(), np.random.get_state()
    if python != moment.python:
        moment.python = python
    if not _same_numpy(numpy, moment.numpy):
        moment.numpy = numpy


class Recorder:
    """Captures the moments of one call.

    Python's and NumPy's generators are asked only if they move in the first ones.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: RandomState | None = None
        self._count = 0
        self._host_moves = False

    def capture(self) -> RandomState:
        """The present moment."""
        last, asks = self._last, self._host_moves or self._count <= HOST_MOMENTS
        moment = capture(self._device, asks)
        if last is not None and asks:
            self._host_moves |= moment.python is not last.python or moment.numpy is not last.numpy
        self._last, self._count = moment, self._count + 1
        return moment


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


def _same_numpy(a: Any, b: Any) -> bool:
    return bool(a[2:] == b[2:] and a[1].tobytes() == b[1].tobytes())


class CannotDraw(RequestError):
    """No token can be drawn from these scores; the run will fail where it tries to."""


def require_distribution(scores: Tensor) -> None:
    """Of scores (B, V) that a look draws from: on a GPU, drawing from what is no distribution ends the process.

    Raises:
        CannotDraw: a row has NaN or +inf, or nothing but -inf.
    """
    wrong = ~torch.softmax(scores, dim=-1).isfinite().all(-1)  # (B,)
    if wrong.any():
        rows = ", ".join(str(row + 1) for row in wrong.nonzero().flatten().tolist())
        what = f"{int(scores.isnan().sum())} NaN and {int(scores.isposinf().sum())} +inf"
        raise CannotDraw(f"no token can be drawn for sequence {rows}: the scores have {what}; the run will fail there")
