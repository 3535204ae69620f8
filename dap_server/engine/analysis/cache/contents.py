"""What a model keeps of earlier tokens: keys and values, or states, layer by layer, as they are now.

Nothing is copied, updated or counted before it is asked for. A layer is read by what it holds, not by a table of
classes: keys and values along a position axis, of which some hold all, some a window and some a part of the room that
they took at once; whatever else it holds is a state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from transformers.cache_utils import (
    Cache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    EncoderDecoderCache,
    LinearAttentionCacheLayerMixin,
    StaticLayer,
)
from transformers.generation.utils import ALL_CACHE_NAMES

from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Stop
from dap_server.engine.execution.values import held_tensors
from dap_server.engine.inspection.arguments import bound_arguments

SELF, CROSS = "self attention", "cross attention"
_BESIDE = frozenset({"layers", "self_attention_cache", "cross_attention_cache", "is_updated"})
"""Attributes of caches that are shown otherwise."""


@dataclass(frozen=True)
class Entry:
    """What one layer keeps.

    Attributes:
        seen: tokens that it has been given; None where it does not count them.
        keys, values: (B, H, S, D) of the S positions that it holds; None where it has none.
        capacity: positions that it has taken room for, of a static layer.
        window: positions that it holds at most, of a sliding window that grows until then.
        states: what it holds besides, by name.
        added: tokens that this step has given it; None where nobody knows.
        expression: Python that gives the layer at a stop; None for the cache of another text.
    """

    layer: Any
    seen: int | None
    keys: Tensor | None
    values: Tensor | None
    capacity: int | None = None
    window: int | None = None
    states: dict[str, Tensor] = field(default_factory=dict)
    added: int | None = None
    expression: str | None = None

    def expression_of(self, name: str) -> str | None:
        """Python that gives the keys or values that it holds, or a state."""
        if self.expression is None:
            return None
        is_room = self.capacity is not None and name in ("keys", "values")
        return f"{self.expression}.{name}{f'[..., :{self.held}, :]' if is_room else ''}"

    @property
    def held(self) -> int:
        """S, how many positions it holds."""
        return 0 if self.keys is None else self.keys.shape[-2]

    @property
    def first(self) -> int:
        """The position of the first that it holds."""
        return max((self.seen or 0) - self.held, 0)

    @property
    def nbytes(self) -> int:
        """Of what it holds: room that is not filled yet does not count."""
        return sum(map(nbytes, self._tensors()))

    @property
    def allocated(self) -> int:
        """Bytes of the memory behind it, as far as torch tells."""
        whole = [getattr(self.layer, name, None) for name in ("keys", "values")]
        return _allocated([t for t in whole if isinstance(t, Tensor)] + list(self.states.values()))

    @property
    def per_token(self) -> int | None:
        """Bytes that one more token adds to what it holds; None where nobody knows."""
        if self.keys is None or self.values is None:
            return 0 if isinstance(self.layer, LinearAttentionCacheLayerMixin) and self.states else None
        if self.states and not isinstance(self.layer, LinearAttentionCacheLayerMixin):
            return None
        if self.window is not None and self.held >= self.window:
            return 0
        if not self.held or (self.capacity is not None and self.held >= self.capacity):
            return 0
        return (nbytes(self.keys) + nbytes(self.values)) // self.held

    def _tensors(self) -> Iterator[Tensor]:
        yield from (t for t in (self.keys, self.values) if t is not None)
        yield from self.states.values()


@dataclass(frozen=True)
class Part:
    """The layers of one kind of attention; `name` is empty when there is but one."""

    name: str
    entries: list[Entry]


@dataclass(frozen=True)
class Kept:
    """All that a model keeps.

    Attributes:
        parts: of a cache with layers.
        states: what it holds outside of them, by name.
    """

    kind: str
    parts: list[Part]
    states: dict[str, Tensor]

    @property
    def entries(self) -> list[Entry]:
        return [entry for part in self.parts for entry in part.entries]

    @property
    def nbytes(self) -> int:
        return sum(entry.nbytes for entry in self.entries) + sum(map(nbytes, self.states.values()))

    @property
    def allocated(self) -> int:
        return sum(entry.allocated for entry in self.entries) + _allocated(list(self.states.values()))

    @property
    def seen(self) -> int | None:
        """Tokens of the text that the layer that has come furthest was given."""
        return max((e.seen for e in self.parts[0].entries if e.seen is not None), default=None) if self.parts else None

    @property
    def per_token(self) -> int | None:
        """Bytes that one more token of the text adds; None where nobody knows, as before a layer has its first."""
        if not self.parts or self.states or any(not e.held and not e.states for e in self.parts[0].entries):
            return None
        each = [entry.per_token for entry in self.parts[0].entries]
        return None if not each or None in each else sum(n for n in each if n is not None)


def find(stop: Stop) -> Any:
    """The object that holds what is kept, at a stop; None where there is none."""
    return find_in(stop.activations, stop.generation)


def find_in(activations: list[Activation], generation: Generation) -> Any:
    """The same with these calls running, innermost first.

    A running call of the model knows best: it may be that of a logits processor, with a cache of its own.
    """
    for activation in reversed(activations):
        if (found := _given_to(activation)) is not None:
            return found
    return None if generation.tape is None else generation.tape.cache


def is_of_the_text(cache: Any, stop: Stop) -> bool:
    """Whether its positions are those of the tokens that are generated."""
    tape = stop.generation.tape
    return tape is not None and tape.cache is cache


def read(cache: Any, stop: Stop) -> Kept:
    """What a cache holds now."""
    tape, is_own = stop.generation.tape, is_of_the_text(cache, stop)
    began = tape.cache_began_with(stop.place.step) if tape is not None and is_own else []
    here = "cache" if is_own else None
    parts: list[Part] = []
    if isinstance(cache, EncoderDecoderCache):
        count = len(cache.self_attention_cache.layers)
        own, cross = (here and f"{here}.{name}" for name in ("self_attention_cache", "cross_attention_cache"))
        parts.append(_part(SELF, cache.self_attention_cache, began[:count], own))
        parts.append(_part(CROSS, cache.cross_attention_cache, began[count:], cross))
    elif isinstance(cache, Cache):
        parts.append(_part("", cache, began, here))
    held = {k: v for k, v in vars(cache).items() if k not in _BESIDE} if isinstance(cache, Cache) else cache
    return Kept(type(cache).__name__, parts, dict(_named("", held)))


def entry_at(cache: Any, layer: int, is_cross: bool = False) -> Entry:
    """What one layer keeps now. Raises LookupError: it keeps nothing."""
    if isinstance(cache, EncoderDecoderCache):
        cache = cache.cross_attention_cache if is_cross else cache.self_attention_cache
    if not isinstance(cache, Cache):
        raise LookupError(layer)
    return _entry(cache.layers[layer], None)


def nbytes(tensor: Tensor) -> int:
    """Of its elements."""
    return tensor.numel() * tensor.element_size()


def _part(name: str, cache: Cache, began: list[int | None], expression: str | None) -> Part:
    known = began if len(began) == len(cache.layers) else [None] * len(cache.layers)
    at = [expression and f"{expression}.layers[{i}]" for i in range(len(cache.layers))]
    return Part(name, [_entry(*each) for each in zip(cache.layers, known, at, strict=True)])


def _entry(layer: Any, began: int | None, expression: str | None = None) -> Entry:
    seen = _seen(layer)
    capacity = int(layer.max_cache_len) if isinstance(layer, StaticLayer) else None
    filled = None if capacity is None else min(seen or 0, capacity)
    keys, values = (_positions(getattr(layer, name, None), filled) for name in ("keys", "values"))
    is_window = isinstance(layer, DynamicSlidingWindowLayer) and not getattr(layer, "record_past", False)
    window = layer.sliding_window - 1 if is_window else None
    held = {k: v for k, v in vars(layer).items() if k not in ("keys", "values")}
    states = {name: tensor for name, tensor in _named("", held) if tensor.dim() > 0 and tensor.numel() > 0}
    added = None if began is None or seen is None else seen - began
    return Entry(layer, seen, keys, values, capacity, window, states, added, expression)


def _positions(tensor: Any, filled: int | None) -> Tensor | None:
    if not isinstance(tensor, Tensor) or tensor.dim() < 2 or not tensor.numel():
        return None
    return tensor if filled is None else tensor[..., :filled, :]


def _seen(layer: Any) -> int | None:
    """A layer of states alone does not count tokens."""
    if not isinstance(layer, DynamicLayer | StaticLayer):
        return None
    try:
        return int(layer.get_seq_length())
    except Exception:  # of somebody's own layer
        return None


def _given_to(activation: Activation) -> Any:
    held = activation.forward.f_locals if activation.forward is not None else bound_arguments(activation)
    candidates = [held.get(name) for name in ALL_CACHE_NAMES]
    return next((c for c in candidates if isinstance(c, Cache) or next(held_tensors(c), None) is not None), None)


def _named(name: str, value: Any, depth: int = 4) -> Iterator[tuple[str, Tensor]]:
    """Tensors in a value, by how they are reached; one that stands alone in its container has the container's name."""
    if isinstance(value, Tensor):
        yield name or "state", value
    elif depth and isinstance(value, dict):
        only = len(value) == 1 and bool(name)
        for key, item in value.items():
            inner = name if only else f"{name}[{key}]" if name else str(key)
            yield from _named(inner, item, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _named(name if len(value) == 1 and name else f"{name}[{i}]", item, depth - 1)
    elif depth and hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        for key, item in vars(value).items():
            yield from _named(f"{name}.{key}" if name else key, item, depth - 1)


def _allocated(tensors: list[Tensor]) -> int:
    storages: dict[int, int] = {}
    for tensor in tensors:
        try:
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        except Exception:  # a tensor of somebody's own, without storage
            storages[id(tensor)] = nbytes(tensor)
    return sum(storages.values())
