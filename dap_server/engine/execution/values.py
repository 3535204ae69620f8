"""Tensors inside other values: copied, since a model may write into them while it runs on, and counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers.utils import ModelOutput


def by_value(value: Any) -> Any:
    """A value whose tensors, also those in plain containers, are its own; everything else is the object itself."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else _copy(value)
    if type(value) is dict:
        return {name: by_value(item) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(by_value(item) for item in value)
    if isinstance(value, ModelOutput):
        return type(value)(**{name: by_value(item) for name, item in value.items()})
    return value


def _copy(tensor: Tensor) -> Tensor:
    """Of a kind of tensor that cannot be copied, the tensor itself."""
    try:
        return tensor.detach().clone()
    except (RuntimeError, NotImplementedError):
        return tensor


def of_sequence(value: Any, sequence: int) -> Any:
    """Of a batch, one sequence: the tensors (B, …) of a value become (1, …)."""
    if isinstance(value, Tensor):
        return value[sequence : sequence + 1]
    if type(value) in (list, tuple):
        return type(value)(of_sequence(item, sequence) for item in value)
    if type(value) is dict:
        return {name: of_sequence(item, sequence) for name, item in value.items()}
    if isinstance(value, ModelOutput):
        return type(value)(**{name: of_sequence(item, sequence) for name, item in value.items()})
    return value


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """The tensors that a value holds, modules left out, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, nn.Module | type):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item, seen)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item, seen)
    elif hasattr(value, "__dict__"):
        yield from tensors_in(vars(value), seen)
