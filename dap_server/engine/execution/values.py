"""Tensors inside other values: copied, since a model may write into them while it runs on, and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from transformers.utils import ModelOutput


def by_value(value: Any) -> Any:
    """A value whose tensors, also those in plain containers, are its own; everything else is the object itself."""
    return mapped(value, _copy)


def _copy(value: Any) -> Any:
    """Of a kind of tensor that cannot be copied, the tensor itself."""
    if not isinstance(value, Tensor) or isinstance(value, nn.Parameter):
        return value
    try:
        return value.detach().clone()
    except (RuntimeError, NotImplementedError):
        return value


def of_sequence(value: Any, sequence: int) -> Any:
    """Of a batch, one sequence: the tensors (B, …) of a value become (1, …)."""
    return mapped(value, lambda leaf: leaf[sequence : sequence + 1] if isinstance(leaf, Tensor) else leaf)


def mapped(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A value of plain containers and outputs of models, made again with what `leaf` gives for all that is in them."""
    if type(value) is dict:
        return {name: mapped(item, leaf) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(mapped(item, leaf) for item in value)
    if isinstance(value, ModelOutput):
        return type(value)(**{name: mapped(item, leaf) for name, item in value.items()})
    return leaf(value)


def version(tensor: Tensor) -> int:
    """Rises with every write; -1 where torch does not count them."""
    return -1 if tensor.is_inference() else tensor._version


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in plain containers; what else holds some, such as a cache, is left alone."""
    if isinstance(value, Tensor):
        yield value
    else:
        for item in _items(value):
            yield from tensors_in(item)


def held_tensors(value: Any, seen: set[int] | None = None) -> Iterator[Tensor]:
    """The tensors that a value holds, in containers and objects, modules left out, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, nn.Module | type):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in _items(value):
            yield from held_tensors(item, seen)
    elif hasattr(value, "__dict__"):
        yield from held_tensors(vars(value), seen)


def _items(value: Any) -> Iterable[Any]:
    """What a plain container has in it."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else ()
