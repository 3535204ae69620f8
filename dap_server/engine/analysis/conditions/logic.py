"""`and`, `or` and `not` of what is on the device: nothing of it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Truth = bool | Tensor
"""Of one thing: a bool, or a tensor () of booleans."""


def is_true(value: object) -> bool:
    """As Python has it. Raises ValueError: it is a tensor of several elements."""
    return bool(_one(value) if isinstance(value, Tensor) else value)


class DeviceLogic:
    """The `Logic` of tensors; what the host knows it decides as Python does."""

    def truth(self, value: object) -> Truth:
        """Raises ValueError: it is a tensor of several elements."""
        return _one(value).reshape(()).ne(0) if isinstance(value, Tensor) else bool(value)

    def negated(self, value: object) -> Truth:
        truth = self.truth(value)
        return truth.logical_not() if isinstance(truth, Tensor) else not truth

    def both(self, *sides: Callable[[], object]) -> Truth:
        return self.every(side() for side in sides)

    def either(self, *sides: Callable[[], object]) -> Truth:
        return self.some(side() for side in sides)

    def every(self, values: Iterable[object]) -> Truth:
        return self._folded(values, False, torch.logical_and)

    def some(self, values: Iterable[object]) -> Truth:
        return self._folded(values, True, torch.logical_or)

    def _folded(self, values: Iterable[object], decides: bool, join: Callable[[Tensor, Tensor], Tensor]) -> Truth:
        """`decides`: the truth of one value that is the truth of all."""
        known: Tensor | None = None
        for value in values:
            truth = self.truth(value)
            if isinstance(truth, Tensor):
                known = truth if known is None else join(known, beside(truth, known))
            elif truth is decides:
                return decides
        return not decides if known is None else known


def beside(truth: Tensor, other: Tensor) -> Tensor:
    """A tensor () on the device of another, which may be another part of the model's."""
    return truth if truth.device == other.device else truth.to(other.device, non_blocking=True)


def _one(value: Tensor) -> Tensor:
    if value.numel() != 1:
        shape = tuple(value.shape)
        raise ValueError(f"a tensor of shape {shape} is neither true nor false: use .any() or .all()")
    return value
