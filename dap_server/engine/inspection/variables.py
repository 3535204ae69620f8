"""Values as rows that open lazily. Names are stable from stop to stop: no shape and no text in a name.

A value that raises when it is touched becomes a row with the error; it never fails the stop.
"""

from __future__ import annotations

import inspect
import itertools
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from dap_server.engine.inspection.rows import RAISED, Children, Paged, Row, Rows, member, reason
from dap_server.engine.inspection.tensor_rows import tensor_row
from dap_server.engine.inspection.tensors import kinds
from dap_server.engine.inspection.tensors.axes import Axes, Positions, axes_of, parameter_axes, unnamed
from dap_server.protocol.errors import RequestError

__all__ = ["Children", "ModuleChildren", "Positions", "Row", "Rows", "describe", "short_repr"]

MAX_REPR = 200
MANY = 200
"""Items of what has no order of its own that are listed at once; more of them come in pages."""


_COLLECTIONS = (set, frozenset, deque)


@dataclass(frozen=True)
class _Origin:
    """Where a value is from.

    Attributes:
        meaning: the name that tells what it is: its own, or in a list the list's.
        is_live: whether the run uses this very value.
        axes: of a tensor, where they are known better than by its name.
    """

    positions: Positions | None
    meaning: str
    is_live: bool
    axes: Axes | None = None

    def part(self, name: str, value: object, expression: str | None, meaning: str | None = None) -> Row:
        return _row(name, value, expression, replace(self, meaning=meaning or name, axes=None))


_NOWHERE = _Origin(None, "", False)


def describe(
    name: str,
    value: object,
    positions: Positions | None = None,
    expression: str | None = None,
    is_live: bool = False,
    axes: Axes | None = None,
    meaning: str | None = None,
) -> Row:
    """The row of a value.

    Args:
        expression: Python that gives the value in its frame; its parts get theirs from it.
        is_live: whether the run uses this very value, so that writing into it changes the run.
        axes: of a tensor; otherwise found by its meaning and sizes.
        meaning: the name that tells what it is, where that is another one.
    """
    return _row(name, value, expression, _Origin(positions, meaning or name, is_live, axes))


def _row(name: str, value: object, expression: str | None, origin: _Origin) -> Row:
    try:
        row = _describe(name, value, expression, origin)
    except RequestError:
        raise
    except RAISED as error:
        row = Row(name, f"<{reason(error)}>", type(value).__name__)
    row.expression = expression
    return row


def _describe(name: str, value: object, expression: str | None, origin: _Origin) -> Row:
    kind = type(value).__name__
    if isinstance(value, Tensor):
        with torch._C.DisableTorchFunctionSubclass():  # what a subclass makes of its operators is its own affair
            return tensor_row(name, value, _axes(value, origin), expression, origin.is_live)
    if isinstance(value, nn.Module):
        return Row(name, module_line(value), kind, ModuleChildren(value, expression))
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return Row(name, short_repr(value), kind)
    if isinstance(value, Mapping):
        children = MappingChildren if len(value) <= MANY else LongMappingChildren
        return Row(name, f"{kind} of {len(value)}", kind, children(value, expression, origin))
    if isinstance(value, (list, tuple)) or type(value).__name__ == "Size":
        items: Any = value
        return Row(name, _sequence_line(items), kind, SequenceChildren(items, expression, origin))
    if isinstance(value, _COLLECTIONS):
        return Row(name, f"{kind} of {len(value)}", kind, CollectionChildren(value, origin))
    if isinstance(value, Cache):
        return Row(name, cache_line(value), kind, ObjectChildren(value, expression, origin))
    if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        return Row(name, short_repr(value), kind)
    return Row(name, short_repr(value), kind, ObjectChildren(value, expression, origin))


def _axes(tensor: Tensor, origin: _Origin) -> Axes:
    if kinds.is_uninitialized(tensor) or tensor.is_nested:
        return Axes(())
    if origin.axes is not None and len(origin.axes.names) == tensor.dim():
        return origin.axes
    return axes_of(origin.meaning, tensor, origin.positions)


def short_repr(value: object) -> str:
    if type(value) in (str, bytes) and len(value) > MAX_REPR:  # type: ignore[arg-type]  # which have a length
        value = value[:MAX_REPR]  # type: ignore[index]
    text = repr(value)
    return text if len(text) <= MAX_REPR else f"{text[: MAX_REPR - 1]}…"


def module_line(module: nn.Module) -> str:
    """`LlamaMLP · 98,304 parameters`: parameters of submodules included."""
    count = sum(p.numel() for p in module.parameters() if not kinds.is_uninitialized(p))
    return f"{type(module).__name__} · {count:,} parameters"


def cache_line(cache: Cache) -> str:
    """`DynamicCache · 2 layers · 12 tokens`; without tokens where the layers keep a state that does not count them."""
    kind = type(cache).__name__
    layers = getattr(getattr(cache, "self_attention_cache", cache), "layers", None)
    if not layers:
        return kind
    try:
        return f"{kind} · {len(layers)} layers · {cache.get_seq_length()} tokens"
    except (ValueError, AttributeError):  # layers without keys, and those that share another one's
        return f"{kind} · {len(layers)} layers"


def _sequence_line(value: Any) -> str:
    if len(value) <= 8 and all(isinstance(item, (int, float, str, bool, type(None))) for item in value):
        return short_repr(value)
    return f"{type(value).__name__} of {len(value)}"


class SequenceChildren(Paged):
    def __init__(self, items: Sequence[Any], expression: str | None, origin: _Origin) -> None:
        super().__init__(len(items))
        self._items, self._expression, self._origin = items, expression, origin

    def _page(self, start: int, count: int) -> list[Row]:
        origin = self._origin
        return [
            origin.part(f"[{i}]", item, member(self._expression, f"[{i}]"), origin.meaning)
            for i, item in enumerate(self._items[start : start + count], start=start)
        ]


class MappingChildren(Rows):
    """A dict or a transformers output: one row per key."""

    def __init__(self, items: Mapping[Any, Any], expression: str | None = None, origin: _Origin = _NOWHERE) -> None:
        self._items, self._expression, self._origin = items, expression, origin
        super().__init__(self._rows)

    def _rows(self) -> list[Row]:
        return _pairs(self._items.items(), self._expression, self._origin)


class LongMappingChildren(Paged):
    """A dict with many keys, in pages of rows that are named by these."""

    def __init__(self, items: Mapping[Any, Any], expression: str | None, origin: _Origin) -> None:
        super().__init__(len(items))
        self._items, self._expression, self._origin = items, expression, origin

    def _page(self, start: int, count: int) -> list[Row]:
        page = itertools.islice(self._items.items(), start, start + count)
        return _pairs(page, self._expression, self._origin)


def _pairs(items: Iterable[tuple[Any, Any]], expression: str | None, origin: _Origin) -> list[Row]:
    """Rows that are named by their keys; those of plain keys can be written as Python."""
    return [
        origin.part(str(key), value, member(expression, f"[{key!r}]") if isinstance(key, (str, int, float)) else None)
        for key, value in items
    ]


class CollectionChildren(Paged):
    """What can be counted and gone through, such as a set: members have numbers, and no expression of their own."""

    def __init__(self, items: Collection[Any], origin: _Origin) -> None:
        super().__init__(len(items))
        self._items, self._origin = items, origin

    def _page(self, start: int, count: int) -> list[Row]:
        page = itertools.islice(self._items, start, start + count)
        return [
            self._origin.part(f"[{i}]", item, None, self._origin.meaning) for i, item in enumerate(page, start=start)
        ]


class ModuleChildren(Rows):
    """Parameters and buffers of a module itself, then its submodules."""

    def __init__(self, module: nn.Module, expression: str | None = None) -> None:
        self._module, self._expression = module, expression
        super().__init__(self._rows)

    def _rows(self) -> list[Row]:
        module = self._module
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        own = [
            describe(
                name,
                value,
                expression=self._at(name),
                is_live=True,
                axes=unnamed(0) if kinds.is_uninitialized(value) else parameter_axes(module, name, value),
            )
            for name, value in tensors
        ]
        return [*own, *(describe(name, part, expression=self._at(name)) for name, part in module.named_children())]

    def _at(self, name: str) -> str | None:
        if name.isdigit() and hasattr(type(self._module), "__getitem__"):
            return member(self._expression, f"[{name}]")
        return member(self._expression, f".{name}") if name.isidentifier() else None


class ObjectChildren(Rows):
    """Attributes that an object holds itself: nothing is called to list them."""

    def __init__(self, value: object, expression: str | None = None, origin: _Origin = _NOWHERE) -> None:
        held = dict(getattr(value, "__dict__", {}))
        self._held = {name: held[name] for name in held if not str(name).startswith("__")}
        self._expression, self._origin = expression, origin
        super().__init__(self._rows)

    def _rows(self) -> list[Row]:
        return [self._origin.part(str(name), item, self._at(name)) for name, item in self._held.items()]

    def _at(self, name: object) -> str | None:
        return member(self._expression, f".{name}") if isinstance(name, str) and name.isidentifier() else None
