"""The Cache scope of a frame: keys and values by layer and position, or states; how many bytes, and how they grow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from dap_server.engine.analysis.cache import contents
from dap_server.engine.analysis.cache.contents import Entry, Kept, Part
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.rows import member
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.tensors.axes import Axes
from dap_server.engine.inspection.variables import Row, Rows, describe

AXES = "batch, head, position, feature"
_NAMED, _OF_ONE = Axes(tuple(AXES.split(", "))), Axes(("head", "feature"))

Text = Callable[[int], str]
"""The token at a position, quoted."""


def cache_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For the frames of steps, of the model, and of layers and what in them uses the cache. Nothing runs for it."""
    indexes = _layers_of(frame, anatomy)
    if indexes == [] or contents.find(frame.stop) is None:
        return None
    return Scope("Cache", Rows(lambda: _rows(frame, anatomy, vocabulary, indexes)))


def _layers_of(frame: Frame, anatomy: Anatomy) -> list[int] | None:
    """Indexes in the cache of the layers that a frame is of; None for all, none for a frame without a cache."""
    path = frame.path or ""
    if frame.kind in ("step", "selection"):
        return None
    if frame.kind not in ("module", "past layer") or _is_in_encoder(path, anatomy):
        return []
    if not path or any(layer.startswith(f"{path}.") for layer in anatomy.layer_paths):
        return None
    indexes = [getattr(module, "layer_idx", None) for module in anatomy.modules[path].modules()]
    found = sorted({index for index in indexes if isinstance(index, int)})
    if not found and path in anatomy.layer_paths and len(anatomy.stacks) == 1:
        layer = anatomy.layer_of(path)
        return [] if layer is None else [layer]
    return found


def _is_in_encoder(path: str, anatomy: Anatomy) -> bool:
    model: Any = anatomy.model
    if not getattr(getattr(model, "config", None), "is_encoder_decoder", False):
        return False
    encoder = anatomy.path_of(model.get_encoder())
    return encoder is not None and (path == encoder or path.startswith(f"{encoder}."))


@torch.no_grad()
def _rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary, indexes: list[int] | None) -> list[Row]:
    cache = contents.find(frame.stop)
    if cache is None:
        return []
    kept = contents.read(cache, frame.stop)
    text = _text(cache, frame, vocabulary)
    if indexes is None or not kept.parts:
        return _whole(kept, frame, anatomy, text)
    return [Row("as of", _as_of(kept, frame)), *_own(kept, frame, indexes, text)]


def _own(kept: Kept, frame: Frame, indexes: list[int], text: Text) -> list[Row]:
    """The entries of some layers; of one alone, what it holds."""
    rows: list[Row] = []
    for part in kept.parts:
        for index in indexes:
            name = part.name or f"layer {index}"
            if index >= len(part.entries):
                rows.append(Row(name, "no entry of its own: it uses that of another layer, or none"))
                continue
            entry = part.entries[index]
            positions = text if part.name != contents.CROSS else _number
            if len(kept.parts) == len(indexes) == 1:
                return _entry_rows(entry, frame.sequence, positions)
            children = Rows(partial(_entry_rows, entry, frame.sequence, positions))
            rows.append(Row(name, _line(entry), children=children))
    return rows


def _size_rows(of: Kept | Entry) -> list[Row]:
    rows = [Row("bytes", f"{of.nbytes:,}", "int")]
    if of.allocated != of.nbytes:
        rows.append(Row("allocated", f"{of.allocated:,} bytes, with room that nothing is in"))
    if of.per_token is not None:
        rows.append(Row("bytes per further token", f"{of.per_token:,}", "int"))
    return rows


def _whole(kept: Kept, frame: Frame, anatomy: Anatomy, text: Text) -> list[Row]:
    rows = [Row("kind", kept.kind), Row("as of", _as_of(kept, frame))]
    if kept.seen is not None:
        rows.append(Row("tokens", f"{kept.seen:,}", "int"))
    rows += _size_rows(kept)
    if (longest := _longest(kept, anatomy)) is not None:
        rows.append(Row("at its longest", longest))
    for part in kept.parts:
        rows.append(
            Row(
                part.name or "layers",
                f"{len(part.entries)} layers",
                children=_Layers(part, frame.sequence, text if part.name != contents.CROSS else _number),
            )
        )
    return [*rows, *(describe(name, tensor) for name, tensor in kept.states.items())]


def _as_of(kept: Kept, frame: Frame) -> str:
    """A cache is never shown as it was, only as it is: in the middle of a step some layers have grown already."""
    known = [entry for entry in kept.entries if entry.added is not None]
    if not known:
        return f"{frame.stop.place}"
    grown = [entry for entry in known if entry.added]
    added = sorted({entry.added for entry in grown if entry.added is not None})
    if not grown:
        return f"{frame.stop.place}: no layer has this step's tokens yet"
    tokens = " or ".join(map(str, added))
    return f"{frame.stop.place}: {len(grown)} of {len(known)} layers have this step's tokens ({tokens} each)"


def _longest(kept: Kept, anatomy: Anatomy) -> str | None:
    """What the same layers would hold at the longest text that the configuration speaks of."""
    config: Any = getattr(anatomy.model, "config", None)
    config = config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config
    longest = getattr(config, "max_position_embeddings", None)
    entries = kept.entries
    plain = (DynamicLayer, DynamicSlidingWindowLayer)
    if type(longest) is not int or len(kept.parts) != 1 or kept.states or not entries:
        return None
    if any(type(entry.layer) not in plain or not entry.held or entry.states for entry in entries):
        return None
    total = 0
    for entry in entries:
        assert entry.keys is not None
        assert entry.values is not None
        each = (contents.nbytes(entry.keys) + contents.nbytes(entry.values)) // entry.held
        total += each * (longest if entry.window is None else min(longest, entry.window))
    return f"{total:,} bytes with {longest:,} tokens (max_position_embeddings)"


def _text(cache: Any, frame: Frame, vocabulary: Vocabulary) -> Text:
    generation = frame.stop.generation
    ids = generation.input_ids
    if ids is None or not contents.is_of_the_text(cache, frame.stop):
        return _number
    row: list[int] = ids[frame.sequence].tolist()
    return lambda position: vocabulary.quoted(row[position]) if position < len(row) else _number(position)


def _number(position: int) -> str:
    return f"position {position}"


def _line(entry: Entry) -> str:
    """`DynamicLayer · 6 tokens · 9,216 bytes · +1 in this step`."""
    kind = type(entry.layer).__name__
    if not entry.held and not entry.states:
        return f"{kind} · empty"
    parts = [kind]
    if entry.keys is not None:
        parts.append(_held(entry))
    if entry.states:
        parts.append(", ".join(entry.states))
    parts.append(f"{entry.nbytes:,} bytes")
    if entry.added:
        parts.append(f"+{entry.added} in this step")
    return " · ".join(parts)


def _held(entry: Entry) -> str:
    of = f" of {entry.capacity:,}" if entry.capacity is not None else ""
    dropped = f", the last of {entry.seen:,}" if entry.first else ""
    return f"{entry.held:,}{of} tokens{dropped}"


def _entry_rows(entry: Entry, sequence: int, text: Text) -> list[Row]:
    rows = [Row("kind", type(entry.layer).__name__)]
    if entry.keys is not None:
        rows.append(Row("tokens", _held(entry)))
    if entry.window is not None:
        rows.append(Row("window", f"{entry.window + 1:,} tokens, the present one among them"))
    if entry.added is not None:
        rows.append(Row("added in this step", f"{entry.added:,}", "int"))
    rows += _size_rows(entry)
    if entry.keys is not None and entry.values is not None:
        last = entry.first + entry.held - 1
        positions = _PositionRows(entry, entry.keys, entry.values, sequence, text)
        rows.append(Row("axes", AXES))
        both = {"keys": entry.keys, "values": entry.values}
        rows += [describe(name, held, expression=entry.expression_of(name), axes=_NAMED) for name, held in both.items()]
        rows.append(Row("positions", f"{entry.first} to {last}" if entry.held else "none", children=positions))
    return [*rows, *(_state_row(entry, name, tensor) for name, tensor in entry.states.items())]


def _state_row(entry: Entry, name: str, tensor: Tensor) -> Row:
    return describe(name, tensor, expression=entry.expression_of(name) if name.isidentifier() else None)


class _Layers:
    """The layers of a part, by number."""

    named = 0

    def __init__(self, part: Part, sequence: int, text: Text) -> None:
        self._part, self._sequence, self._text = part, sequence, text
        self.indexed = len(part.entries)

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        page = self._part.entries[start : start + count]
        return [
            Row(f"[{i}]", _line(entry), children=Rows(partial(_entry_rows, entry, self._sequence, self._text)))
            for i, entry in enumerate(page, start=start)
        ]


class _PositionRows:
    """Keys and values of one sequence, position by position."""

    named = 0

    def __init__(self, entry: Entry, keys: Tensor, values: Tensor, sequence: int, text: Text) -> None:
        """`keys`, `values`: (B, H, S, D)."""
        row = min(sequence, keys.shape[0] - 1)
        self._keys, self._values, self._first, self._text = keys[row], values[row], entry.first, text
        self._entry, self._sequence = entry, row
        self.indexed = entry.held

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        end = min(start + count, self.indexed)
        return [self._row(i) for i in range(start, end)]

    def _row(self, index: int) -> Row:
        key, value = self._keys[..., index, :], self._values[..., index, :]  # each (H, D)
        at = self._first + index
        norms = f"key norm {float(key.double().norm()):.4g}, value norm {float(value.double().norm()):.4g}"
        children = Rows(lambda: [self._one("key", "keys", key, index), self._one("value", "values", value, index)])
        return Row(f"[{at}]", f"{self._text(at)}  {norms}", children=children)

    def _one(self, name: str, of: str, tensor: Tensor, index: int) -> Row:
        whole = self._entry.expression_of(of)
        return describe(name, tensor, expression=member(whole, f"[{self._sequence}, :, {index}]"), axes=_OF_ONE)
