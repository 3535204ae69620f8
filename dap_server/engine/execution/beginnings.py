"""What a model has when a call begins, so that the call can begin again: its attributes, settings, random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dap_server.engine.execution import randomness
from dap_server.engine.execution.given import LEFT_ALONE, is_object
from dap_server.engine.execution.holders import OWN, Holders, Snapshot
from dap_server.engine.execution.randomness import RandomState


@dataclass(frozen=True)
class Beginning:
    """The moment before a call.

    Attributes:
        settings: what the configurations of the model and its parts hold.
    """

    random: RandomState
    attributes: Snapshot
    settings: list[dict[str, Any]]


class Beginnings:
    """Of the calls of one model. Made once for it; to remember a moment is cheap then."""

    def __init__(self, model: nn.Module, device: torch.device) -> None:
        self._device = device
        self._holders = Holders(model)
        self._configurations = _configurations(model)
        self._own = [m for m in model.modules() if type(m).__module__.partition(".")[0] not in LEFT_ALONE]
        self._last: Snapshot | None = None

    def now(self) -> Beginning:
        """The present moment. What has not changed since the one before is shared with it."""
        if self._holders.call_begins() or self._last is None:
            self._last = self._holders.copy()
        return Beginning(randomness.capture(self._device), self._last, self.settings())

    def restore(self, moment: Beginning) -> None:
        self._holders.restore(moment.attributes)
        self.set(moment.settings)
        randomness.restore(moment.random, self._device)

    def objects(self) -> list[tuple[str, Any]]:
        """What modules of the program's own have on them beside modules, tensors and plain containers."""
        return [
            (f"'{name}' of {type(module).__name__}", value)
            for module in self._own
            for name, value in vars(module).items()
            if name not in OWN and is_object(value)
        ]

    def settings(self) -> list[dict[str, Any]]:
        return [dict(held) for held in self._configurations]

    def set(self, values: list[dict[str, Any]]) -> None:
        """Some loops change a configuration for a while, and leave it so when they are unwound."""
        for held, value in zip(self._configurations, values, strict=True):
            held.clear()
            held.update(value)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leaves everything as it was found, whatever is restored meanwhile."""
        settings = self.settings()
        with randomness.kept(self._device), self._holders.kept():
            try:
                yield
            finally:
                self.set(settings)


def _configurations(model: Any) -> list[dict[str, Any]]:
    """What the configurations of a model and its parts hold, its generation configuration too."""
    found = {id(c): c for module in model.modules() if (c := getattr(module, "config", None)) is not None}
    generation = getattr(model, "generation_config", None)
    return [vars(c) for c in (*found.values(), generation) if hasattr(c, "__dict__")]
