"""Which tokens stand behind the queries and keys of a call of attention."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, EncoderDecoderCache, StaticLayer

UNKNOWN = -1
"""In the place of a token id that nobody has told."""

_OTHER_TEXT = ("key_value_states", "encoder_hidden_states", "cross_attention_states", "memory")
"""What a module's argument is called that holds the states of another text."""


@dataclass(frozen=True)
class AttentionText:
    """The axes of the weights of one call, as positions of texts.

    Attributes:
        is_cross: whether the keys are of another text than the queries.
        query_ids: (B, ≥ first_query + T) token ids of the text of the queries; None when nothing is known.
        key_ids: (B, ≥ first_key + known_keys) of the keys, likewise.
        first_query: position of query row 0 in its text.
        first_key: position of key 0 in its text: not 0 where a window has dropped the keys before it.
        known_keys: how many keys are positions of the text, one each, in order. The rest are empty slots of a static
            cache; 0 where keys are something else, such as blocks of tokens.
        starts: (B,) position of the first token of the queries' text that is no padding; None when there is no padding.
    """

    is_cross: bool = False
    query_ids: Tensor | None = None
    key_ids: Tensor | None = None
    first_query: int = 0
    first_key: int = 0
    known_keys: int = 0
    starts: Tensor | None = None

    def start(self, sequence: int) -> int:
        """Position of the first token of a sequence; of the keys' text where that is another one."""
        return 0 if self.starts is None or self.is_cross else int(self.starts[sequence % self.starts.shape[0]])

    def key_position(self, key: int) -> int | None:
        """Where a key stands in its text; None for what is no token of it."""
        return self.first_key + key if key < self.known_keys else None

    def ids_of_keys(self, sequence: int, keys: int) -> Tensor | None:
        """(S,) token ids, UNKNOWN where there is none; None when nothing is known."""
        if self.key_ids is None or not self.known_keys:
            return None
        known = self.key_ids[sequence, self.first_key : self.first_key + self.known_keys]
        return nn.functional.pad(known, (0, keys - known.shape[0]), value=UNKNOWN)

    def id_of_query(self, sequence: int, row: int) -> int:
        return UNKNOWN if self.query_ids is None else int(self.query_ids[sequence, self.first_query + row])


@dataclass(frozen=True)
class Known:
    """What is known before attention is called.

    Attributes:
        texts: (B, T_all) what the whole text of the queries may be, with whatever came before.
        others: (B, S) what the text may be that cross attention looks at.
        starts: (B,) position of the first token of the queries' text that is no padding.
    """

    texts: Sequence[Tensor] = ()
    others: Sequence[Tensor] = ()
    starts: Tensor | None = None


class RunningCall(NamedTuple):
    """A module call that is under way, with its arguments by name."""

    path: str
    module: nn.Module
    arguments: dict[str, Any]


def text_of(running: Sequence[RunningCall], shape: tuple[int, int, int, int], before: Known) -> AttentionText:
    """What is known when attention is called.

    Args:
        running: the module calls around it, innermost last.
        shape: B, H, T, S.
    """
    batch, _, queries, keys = shape
    own = next((ids for ids in _ids_given(running) if ids.shape == (batch, queries)), None)
    cache, layer = _cache(running)
    if _is_cross(running[-1].arguments, keys):
        past = _length(cache, layer) - queries if cache is not None else 0
        told = [*_ids_given(running), *(_beams(ids, batch) for ids in before.others)]
        other = next((ids for ids in told if ids is not own and ids.shape == (batch, keys)), None)
        return AttentionText(True, _whole(own, past, before.texts, queries), other, max(past, 0), 0, keys)
    total = max(_length(cache, layer), queries) if cache is not None else queries
    ids = _whole(own, total - queries, before.texts, queries)
    first = max(total - keys, 0)
    known = _known_keys(keys, total, layer, running[-1].module)
    starts = _starts(running, batch, total)
    if starts is None and before.starts is not None:  # a static cache has masks of other forms
        starts = _beams(before.starts, batch)
    return AttentionText(False, ids, ids, total - queries, first, known, starts)


def _beams(values: Tensor, batch: int) -> Tensor:
    """Of a batch whose sequences have several beams each."""
    return values.repeat_interleave(batch // values.shape[0], dim=0)


def _starts(running: Sequence[RunningCall], batch: int, total: int) -> Tensor | None:
    """From the mask of the text that the model was given."""
    for call in reversed(running):
        for name, mask in call.arguments.items():
            if name.endswith("attention_mask") and isinstance(mask, Tensor) and mask.shape == (batch, total):
                return mask.bool().int().argmax(dim=1)
    return None


def _ids_given(running: Sequence[RunningCall]) -> Iterator[Tensor]:
    """Token ids among the arguments of the calls, those of inner calls first."""
    for call in reversed(running):
        for name, value in call.arguments.items():
            if name.endswith("input_ids") and isinstance(value, Tensor) and value.dim() == 2:
                yield value


def _is_cross(arguments: dict[str, Any], keys: int) -> bool:
    for name in _OTHER_TEXT:
        value = arguments.get(name)
        if isinstance(value, Tensor) and value.dim() >= 2 and keys in value.shape[:-1]:
            return True
    query, key = arguments.get("query"), arguments.get("key")
    return isinstance(query, Tensor) and isinstance(key, Tensor) and query is not key


def _cache(running: Sequence[RunningCall]) -> tuple[Any, Any]:
    """The cache that was handed down, its part for self attention, and the layer of it that this call has filled."""
    index = next(
        (i for call in reversed(running) if isinstance(i := getattr(call.module, "layer_idx", None), int)), None
    )
    for call in reversed(running):
        for value in call.arguments.values():
            if isinstance(value, Cache):
                cache = value.self_attention_cache if isinstance(value, EncoderDecoderCache) else value
                layers = getattr(cache, "layers", [])
                return cache, layers[index] if index is not None and index < len(layers) else None
    return None, None


def _length(cache: Any, layer: Any) -> int:
    holder = layer if hasattr(layer, "get_seq_length") else cache  # a layer may borrow the keys of another one
    return int(holder.get_seq_length())


def _known_keys(keys: int, total: int, layer: Any, module: nn.Module) -> int:
    if keys == total:
        return keys
    if keys > total:
        return total if isinstance(layer, StaticLayer) else 0
    is_sliding = getattr(layer, "is_sliding", False) or getattr(module, "is_sliding", False)
    return keys if is_sliding else 0


def _whole(own: Tensor | None, past: int, texts: Iterable[Tensor], queries: int) -> Tensor | None:
    """(B, ≥ past + T) the text up to here: one that agrees with the tokens of this call, else these alone."""
    for ids in texts:
        if ids.shape[1] < past + queries:
            continue
        if own is None or (ids.shape[0] == own.shape[0] and torch.equal(ids[:, past : past + queries], own)):
            return ids
    if own is None:
        return None
    return nn.functional.pad(own, (max(past, 0), 0), value=UNKNOWN)
