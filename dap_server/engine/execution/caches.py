"""The past of a model's cache: how to bring it back, in place or as a view.

A layer that only appends is cropped, a static one is rewound by its length, everything else has to be copied by value.
Only exact classes are trusted: subclasses keep state that nothing here knows of.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache, StaticCache, StaticLayer

from dap_server.engine.execution.values import held_tensors

EMPTY = -1
"""The length of a layer that has not seen a token."""


@dataclass(slots=True)
class CacheMark:
    """Where a cache was at the start of a step.

    Attributes:
        lengths: per layer, EMPTY for an untouched one, None for one whose past needs a copy.
        seen: per layer, the tokens that it had been given, None where it does not count them; empty where lengths tell.
        is_updated: of an EncoderDecoderCache, which layers have their cross attention.
        needs_copies: whether the past of the cache was no prefix of its present.
        copies: by layer index, what cannot be rewound; `whole` for a cache of an unknown class.
    """

    lengths: tuple[int | None, ...] = ()
    seen: tuple[int | None, ...] = ()
    is_updated: dict[int, bool] | None = None
    needs_copies: bool = False
    copies: dict[int, dict[str, Any]] = field(default_factory=dict)
    whole: Any = None

    @property
    def nbytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in held_tensors([self.copies, self.whole]))


def needs_copies(cache: Any) -> bool:
    """Whether the past of a cache is not a prefix of its present."""
    if cache is None:
        return False
    return not _is_known(cache) or any(_length(layer) is None for layer in _layers(cache))


def mark(cache: Any, with_copies: bool) -> CacheMark:
    """Remembers where a cache is; `with_copies` makes the mark enough to come back by itself."""
    if cache is None:
        return CacheMark()
    if not _is_known(cache):
        whole = _copied(_state(cache)) if with_copies else None
        return CacheMark(needs_copies=True, whole=whole)
    layers = list(_layers(cache))
    lengths = tuple(_length(layer) for layer in layers)
    is_updated = dict(cache.is_updated) if isinstance(cache, EncoderDecoderCache) else None
    copies: dict[int, dict[str, Any]] = {}
    if with_copies:
        copies = {i: _copied(vars(layers[i])) for i, length in enumerate(lengths) if length is None}
    seen = tuple(map(_seen, layers)) if None in lengths else ()
    return CacheMark(_compact(lengths), _compact(seen), is_updated, None in lengths, copies)


def grown(mark: CacheMark | None, steps: int) -> CacheMark | None:
    """The mark of some steps later, if every layer takes one token a step; None where a mark does not tell."""
    length = mark.lengths[0] if mark is not None and len(mark.lengths) == 1 and mark.is_updated is None else None
    return None if length is None or length == EMPTY else CacheMark((length + steps,))


def seen_at(mark: CacheMark, cache: Any) -> list[int | None]:
    """The tokens that every layer had been given, cross attention behind self attention; empty where nobody knows."""
    if cache is None or not _is_known(cache):
        return []
    counts = _expanded(mark.seen or mark.lengths, cache)
    return [None if count is None else max(count, 0) for count in counts]


def rewind(cache: Any, to: CacheMark) -> Any:
    """Brings a cache back in place, so that it stays the object that its owner knows.

    Returns the cache to go on with: another object only for one that is a plain tensor or tuple.
    """
    if cache is None:
        return None
    if not _is_known(cache):
        return _with_state(cache, _copied(to.whole))
    for i, (layer, length) in enumerate(zip(_layers(cache), _expanded(to.lengths, cache), strict=True)):
        if length is None:
            vars(layer).clear()
            vars(layer).update(_copied(to.copies[i]))
        else:
            _rewind_layer(layer, length)
    if to.is_updated is not None:
        cache.is_updated = dict(to.is_updated)
    return cache


def view(cache: Any, at: CacheMark) -> Any:
    """Another cache that is what this one was at the mark. Running on it leaves this one alone."""
    if cache is None:
        return None
    if not _is_known(cache):
        return _with_state(copy.copy(cache), _copied(at.whole))
    other = copy.copy(cache)
    if isinstance(cache, EncoderDecoderCache):
        other.self_attention_cache = _shallow(cache.self_attention_cache)
        other.cross_attention_cache = _shallow(cache.cross_attention_cache)
    else:
        other = _shallow(cache)
    for i, layer in enumerate(_layers(other)):
        if isinstance(layer, StaticLayer) and i not in at.copies and layer.is_initialized:
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()
            layer.cumulative_length = layer.cumulative_length.clone()
    return rewind(other, at)


def only_appends(layer: Any) -> bool:
    """Whether the past of a layer is what it held of its present."""
    return type(layer) in (DynamicLayer, StaticLayer)


def _shallow(cache: Any) -> Any:
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other


def _is_known(cache: Any) -> bool:
    if type(cache) is EncoderDecoderCache:
        return _is_known(cache.self_attention_cache) and _is_known(cache.cross_attention_cache)
    return type(cache) in (DynamicCache, StaticCache) and not getattr(cache, "offloading", False)


def _layers(cache: Any) -> Iterator[Any]:
    if isinstance(cache, EncoderDecoderCache):
        yield from cache.self_attention_cache.layers
        yield from cache.cross_attention_cache.layers
    else:
        yield from cache.layers


def _length(layer: Any) -> int | None:
    """How far a layer has come; None when its past is no prefix."""
    if type(layer) is DynamicLayer:
        return int(layer.keys.shape[-2]) if layer.is_initialized and layer.keys.numel() else EMPTY
    if type(layer) is StaticLayer:
        return int(layer.cumulative_length) if layer.is_initialized else EMPTY
    return None


def _seen(layer: Any) -> int | None:
    """Counts of layers that hold a part of what they were given; only those that need no look at a device."""
    length = _length(layer)
    if length is not None:
        return length
    count = getattr(layer, "cumulative_length_int", getattr(layer, "cumulative_length", None))
    return count if isinstance(count, int) else None


def _rewind_layer(layer: Any, length: int) -> None:
    if length == EMPTY:
        layer.keys = layer.values = None
        layer.is_initialized = False
        if isinstance(layer, StaticLayer):
            layer.cumulative_length = torch.tensor(0, dtype=torch.long)
    elif isinstance(layer, StaticLayer):
        later = slice(length, int(layer.cumulative_length))  # what some models read, though it is masked
        layer.keys[..., later, :] = 0
        layer.values[..., later, :] = 0
        layer.cumulative_length.fill_(length)
    else:
        layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]


def _compact(lengths: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """One number when all layers agree: a mark is kept for every token."""
    return lengths[:1] if len(set(lengths)) == 1 else lengths


def _expanded(lengths: tuple[int | None, ...], cache: Any) -> list[int | None]:
    """A length per layer. Layers that were added since are empty."""
    count = sum(1 for _ in _layers(cache))
    if not lengths:
        return [EMPTY] * count
    if len(lengths) == 1:
        return [lengths[0]] * count
    return [*lengths, *[EMPTY] * (count - len(lengths))]


def _state(cache: Any) -> Any:
    """What makes up a cache of a class that is not known: its attributes, or itself when it has none."""
    return vars(cache) if hasattr(cache, "__dict__") else cache


def _with_state(cache: Any, state: Any) -> Any:
    if not hasattr(cache, "__dict__"):
        return state
    vars(cache).clear()
    vars(cache).update(state)
    return cache


def _copied(state: Any) -> Any:
    """A deep copy whose tensors are values of their own; modules in it stay the modules they are."""
    memo = {id(m): m for m in _modules(state)}
    return copy.deepcopy(state, memo)


def _modules(value: Any, depth: int = 4) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _modules(item, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for item in value:
            yield from _modules(item, depth - 1)
