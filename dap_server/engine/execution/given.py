"""What a call is given, so that it can be given the same again.

Caches, lists and objects go back to what they were; tensors that were written to are noticed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from transformers.cache_utils import Cache

from dap_server.engine.execution import caches
from dap_server.engine.execution.values import version
from dap_server.protocol.errors import RequestError

T = TypeVar("T")
DEPTH = 4
"""How deep objects are looked into: a cache has layers, which have tensors."""
LEFT_ALONE = frozenset(
    [
        *("torch", "transformers", "tokenizers", "accelerate", "lightning", "pytorch_lightning", "datasets"),
        *("numpy", "threading", "queue", "logging"),
    ]
)
"""Packages whose objects remember nothing of a call, caches apart."""


class CannotRunAgain(RequestError):
    """A call cannot begin again as it began; the text says why."""

    id = 66


class Given(Generic[T]):
    """A function and its arguments, as they are when this is made."""

    def __init__(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> None:
        self._function, self._args, self._kwargs = function, args, kwargs
        named = [(f"argument {i}", value) for i, value in enumerate(args, 1)]
        named += [(f"'{name}'", value) for name, value in kwargs.items()]
        self._caches = [
            (value, caches.mark(value, caches.needs_copies(value))) for _, value in named if isinstance(value, Cache)
        ]
        self._objects: list[tuple[str, Any]] = []
        self._held = _Held(self._values())
        self._tensors = [(name, t, version(t)) for name, value in named for t in _tensors(value)]
        self._used_up = next((name for name, value in named if isinstance(value, Iterator)), None)

    def remembering(self, objects: Iterable[tuple[str, Any]]) -> Given[T]:
        """With objects that are no arguments, and that the call may change too, by what they are called."""
        self._objects = list(objects)
        if self._objects:
            self._held = _Held(self._values())
            self._tensors += [(name, t, version(t)) for name, value in self._objects for t in _tensors(value)]
        return self

    def _values(self) -> list[Any]:
        return [*self._args, *self._kwargs.values(), *(value for _, value in self._objects)]

    def __call__(self) -> T:
        return self._function(*self._args, **self._kwargs)

    def why_not_again(self) -> str | None:
        """Why it can no longer be given the same; None while it can."""
        if self._used_up is not None:
            return f"{self._used_up} of this call is an iterator, which the call uses up"
        written = next((name for name, tensor, before in self._tensors if version(tensor) != before), None)
        return None if written is None else f"the call has written to {written}"

    def restore(self) -> None:
        """Its caches, lists and objects are as they were."""
        for cache, mark in self._caches:
            caches.rewind(cache, mark)
        self._held.restore()

    @contextmanager
    def aside(self) -> Iterator[Callable[[], T]]:
        """The same call, on views of its caches; when this is closed all that it is given is as it was found."""
        views = {id(cache): caches.view(cache, mark) for cache, mark in self._caches}
        args = [views.get(id(value), value) for value in self._args]
        kwargs = {name: views.get(id(value), value) for name, value in self._kwargs.items()}
        found = _Held(self._values())
        self._held.restore()
        try:
            yield functools.partial(self._function, *args, **kwargs)
        finally:
            found.restore()


class _Held:
    """What lists, dictionaries and objects have in them."""

    def __init__(self, values: Iterable[Any]) -> None:
        seen: dict[int, Any] = {}
        for value in values:
            _collect(value, DEPTH, seen)
        self._all = [(one, one.copy()) for one in seen.values()]

    def restore(self) -> None:
        for one, had in self._all:
            if isinstance(one, list):
                one[:] = had
            else:
                one.clear()
                one.update(had)


def is_object(value: Any) -> bool:
    """Whether it is an object of the program's own, which may remember something."""
    return bool(_contents(value)) and type(value) not in (list, dict, tuple)


def _collect(value: Any, depth: int, seen: dict[int, Any]) -> None:
    """The lists and dictionaries that hold what a value is made of."""
    if depth == 0 or isinstance(value, Cache):
        return
    held = _contents(value)
    if isinstance(held, (list, dict)):
        if id(held) in seen:
            return
        seen[id(held)] = held
    for item in held.values() if isinstance(held, dict) else held:
        _collect(item, depth - 1, seen)


def _contents(value: Any) -> list[Any] | dict[Any, Any] | tuple[Any, ...]:
    if type(value) in (list, dict, tuple):
        return value  # type: ignore[no-any-return]  # which has been asked
    is_tool = isinstance(value, (nn.Module, Tensor, type)) or callable(value)
    if is_tool or type(value).__module__.partition(".")[0] in LEFT_ALONE:
        return ()
    return vars(value) if hasattr(value, "__dict__") else ()


def _tensors(value: Any, depth: int = DEPTH) -> Iterator[Tensor]:
    """Those that a call could write to, where it would be noticed by nobody else."""
    if isinstance(value, Tensor):
        yield value
    elif depth and not isinstance(value, Cache):
        held = _contents(value)
        for item in held.values() if isinstance(held, dict) else held:
            yield from _tensors(item, depth - 1)
