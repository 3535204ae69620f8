"""Values as rows that open lazily. Names are stable from stop to stop: no shape and no text in a name.

A value that raises when it is touched becomes a row with the error; it never fails the stop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache

from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution import memory
from dap_server.engine.inspection import tensors
from dap_server.protocol.errors import RequestError

MAX_REPR = 200


class Children(Protocol):
    """What a row opens to."""

    named: int
    """How many children have names; -1 when only opening tells."""
    indexed: int
    """How many children have numbers; they come in pages."""

    def named_rows(self) -> list[Row]: ...

    def indexed_rows(self, start: int, count: int) -> list[Row]: ...


@dataclass
class Row:
    """One line of a variables view.

    Attributes:
        expression: Python that gives this value in the frame, where there is one.
    """

    name: str
    value: str
    type: str | None = None
    children: Children | None = None
    expression: str | None = None


@dataclass(frozen=True)
class Positions:
    """The tokens that the present forward works on, to label the position axis of its tensors.

    Attributes:
        ids: B rows of T token ids.
    """

    ids: Sequence[Sequence[int]]
    vocabulary: Vocabulary

    def labels(self, sequence: int) -> Callable[[int], str]:
        """The quoted text of the token at each position of one sequence."""
        return lambda position: self.vocabulary.quoted(self.ids[sequence][position])

    def fit(self, tensor: Tensor) -> bool:
        """Whether axes 0 and 1 of a tensor are batch and position: (B, T) or (B, T, D)."""
        return tensor.dim() in (2, 3) and bool(self.ids) and tensor.shape[:2] == (len(self.ids), len(self.ids[0]))


def describe(name: str, value: object, positions: Positions | None = None, expression: str | None = None) -> Row:
    """The row of a value."""
    try:
        row = _describe(name, value, positions)
    except Exception as error:
        row = Row(name, f"<{type(error).__name__}: {error}>", type(value).__name__)
    row.expression = expression
    return row


def _describe(name: str, value: object, positions: Positions | None) -> Row:
    kind = type(value).__name__
    if isinstance(value, Tensor):
        if value.dim() == 0:
            return Row(name, tensors.line(value), kind, Statistics(value))
        children = TensorChildren(value, positions if positions and positions.fit(value) else None)
        return Row(name, tensors.line(value), kind, children)
    if isinstance(value, nn.Module):
        return Row(name, module_line(value), kind, ModuleChildren(value))
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, torch.dtype, torch.device)):
        return Row(name, short_repr(value), kind)
    if isinstance(value, Mapping):
        return Row(name, f"{kind} of {len(value)}", kind, MappingChildren(value, positions))
    if isinstance(value, (list, tuple)) or type(value).__name__ == "Size":
        items: Any = value
        return Row(name, _sequence_line(items), kind, SequenceChildren(items, positions))
    if isinstance(value, Cache):
        return Row(name, cache_line(value), kind, ObjectChildren(value, positions))
    if inspect.isroutine(value) or inspect.isclass(value) or inspect.ismodule(value):
        return Row(name, short_repr(value), kind)
    return Row(name, short_repr(value), kind, ObjectChildren(value, positions))


def short_repr(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_REPR else f"{text[: MAX_REPR - 1]}…"


def module_line(module: nn.Module) -> str:
    """`LlamaMLP · 98,304 parameters`: parameters of submodules included."""
    count = sum(p.numel() for p in module.parameters())
    return f"{type(module).__name__} · {count:,} parameters"


def cache_line(cache: Cache) -> str:
    """`DynamicCache · 2 layers · 12 tokens`; without tokens where the layers keep a state that does not count them."""
    kind = type(cache).__name__
    layers = getattr(getattr(cache, "self_attention_cache", cache), "layers", None)
    if not layers:
        return kind
    try:
        return f"{kind} · {len(layers)} layers · {cache.get_seq_length()} tokens"
    except ValueError:
        return f"{kind} · {len(layers)} layers"


def _sequence_line(value: Any) -> str:
    if len(value) <= 8 and all(isinstance(item, (int, float, str, bool, type(None))) for item in value):
        return short_repr(value)
    return f"{type(value).__name__} of {len(value)}"


class Rows:
    """A fixed list of named rows, made when it is opened."""

    indexed = 0

    def __init__(self, make: Callable[[], list[Row]], count: int = -1) -> None:
        self._make, self.named = make, count

    def named_rows(self) -> list[Row]:
        """What raises while they are made, such as a model that runs again, is a row too."""
        try:
            return self._make()
        except RequestError:
            raise
        except Exception as error:
            if memory.explained(error) is not error:
                raise
            return [Row("error", f"{type(error).__name__}: {error}")]

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        return []


class Statistics(Rows):
    """The numbers about a tensor, computed when they are opened."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        super().__init__(self._compute)

    def _compute(self) -> list[Row]:
        tensor = self._tensor
        rows = [
            Row("elements", f"{tensor.numel():,}"),
            Row("bytes", f"{tensor.numel() * tensor.element_size():,}"),
            Row("requires_grad", str(tensor.requires_grad)),
            Row("contiguous", str(tensor.is_contiguous()) if tensor.layout is torch.strided else "-"),
        ]
        try:
            stats = tensors.statistics(tensor)
        except Exception as error:
            return [*rows, Row("values", f"<{error}>")]
        for name in ("mean", "std", "min", "max", "norm"):
            rows.append(Row(name, f"{getattr(stats, name):.9g}"))
        for name in ("zeros", "nan", "positive_inf", "negative_inf"):
            rows.append(Row(name, f"{getattr(stats, name):,}"))
        if stats.first_non_finite is not None:
            rows.append(Row("first non-finite", str(list(stats.first_non_finite))))
        return rows


class TensorChildren:
    """Named: what is known about the tensor. Indexed: its first axis, in views."""

    named = 4

    def __init__(
        self, tensor: Tensor, positions: Positions | None = None, labels: Callable[[int], str] | None = None
    ) -> None:
        """`positions` when axis 0 is the batch and axis 1 the position; `labels`: texts along axis 0."""
        self._tensor, self._positions, self._labels = tensor, positions, labels
        self.indexed = tensor.shape[0] if tensor.layout is torch.strided else 0

    def named_rows(self) -> list[Row]:
        tensor = self._tensor
        return [
            Row("statistics", "mean, std, range, non-finite …", children=Statistics(tensor)),
            Row("shape", str(list(tensor.shape)), "Size"),
            Row("dtype", tensors.dtype_name(tensor.dtype), "dtype"),
            Row("device", str(tensor.device), "device"),
        ]

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        page = self._tensor.detach()[start : start + count]
        if page.dim() == 1:
            return [self._row(start + i, text, None) for i, text in enumerate(tensors.numbers(page))]
        return [self._row(start + i, tensors.line(row), row) for i, row in enumerate(page)]

    def _row(self, index: int, value: str, row: Tensor | None) -> Row:
        if self._labels is not None:
            value = f"{self._labels(index)}  {value}"
        if row is None:
            return Row(f"[{index}]", value)
        labels = self._positions.labels(index) if self._positions else None
        return Row(f"[{index}]", value, "Tensor", TensorChildren(row, labels=labels))


class SequenceChildren:
    named = 0

    def __init__(self, items: Sequence[Any], positions: Positions | None) -> None:
        self._items, self._positions = items, positions
        self.indexed = len(items)

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        page = self._items[start : start + count]
        return [describe(f"[{start + i}]", item, self._positions) for i, item in enumerate(page)]


class MappingChildren(Rows):
    """A dict or a transformers output: one row per key."""

    def __init__(self, items: Mapping[Any, Any], positions: Positions | None) -> None:
        super().__init__(lambda: [describe(str(key), value, positions) for key, value in items.items()], len(items))


class ModuleChildren(Rows):
    """Parameters and buffers of a module itself, then its submodules."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        super().__init__(self._rows)

    def _rows(self) -> list[Row]:
        module = self._module
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        return [describe(name, value) for name, value in [*own, *module.named_children()]]


class ObjectChildren(Rows):
    """Attributes that an object holds itself: nothing is called to list them."""

    def __init__(self, value: object, positions: Positions | None) -> None:
        held = dict(getattr(value, "__dict__", {}))
        public = {name: held[name] for name in held if not name.startswith("__")}
        super().__init__(lambda: [describe(name, item, positions) for name, item in public.items()], len(public))
