"""Values that last: parameters, whose bytes are put in and out by step, and entries of the cache.

A parameter has the bytes of the edits that are active in the step that runs, in a replay too, and its own as soon as
there are none. What is written to a cache stays there; going back before it takes the old entries out of what was kept.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import EncoderDecoderCache, StaticLayer

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import caches
from dap_server.engine.execution.edits.changes import Moment
from dap_server.engine.execution.edits.edit import Edit, StoredValue
from dap_server.engine.execution.edits.outcomes import Outcomes
from dap_server.engine.execution.edits.selection import CannotEdit, StepPositions

_NO_TEXT = StepPositions(0, 0, 0)


class StoredParameters:
    """The parameters and buffers of one model, in place: those who hold them hold what the edits make of them."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._in: tuple[Edit, ...] = ()
        self._outcomes = Outcomes()
        self._own: dict[int, tuple[Tensor, Tensor]] = {}  # what is edited, and its own bytes

    @property
    def are_edited(self) -> bool:
        """Whether some have other bytes than their own now."""
        return bool(self._in)

    def bring(self, active: Sequence[Edit], outcomes: Outcomes | None = None) -> None:
        """The bytes are as these edits make them; nothing is done where they are already."""
        wanted = tuple(edit for edit in active if _is_of(edit, "parameter"))
        if wanted != self._in:
            self._exchange(wanted)
        if outcomes is not None and wanted:
            outcomes.take_over(self._outcomes)

    def _exchange(self, wanted: tuple[Edit, ...]) -> None:
        for tensor, own in self._own.values():
            _write(tensor, own)
        self._own.clear()
        self._in, self._outcomes = wanted, Outcomes()
        for edit in wanted:
            tensor = self._tensor(edit)
            self._own.setdefault(id(tensor), (tensor, tensor.detach().clone()))
            changed = self._outcomes.apply(edit, edit.steps.first, functools.partial(_changed, edit, tensor), tensor)
            if changed is not tensor:
                _write(tensor, changed)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Leaves the bytes as they were found."""
        found = self._in
        try:
            yield
        finally:
            self.bring(found)

    def _tensor(self, edit: Edit) -> Tensor:
        assert isinstance(edit.target, StoredValue)
        path, _, name = edit.target.name.rpartition(".")
        tensor: Tensor = getattr(self._anatomy.modules[path], name)
        return tensor


def _changed(edit: Edit, tensor: Tensor) -> Tensor | None:
    assert isinstance(edit.target, StoredValue)
    index = edit.target.selection.of(tensor.shape, _NO_TEXT)
    moment = Moment(edit.steps.first, edit.target.name)
    return None if index is None else edit.change.applied(tensor.detach(), index, moment)


def _write(tensor: Tensor, value: Tensor) -> None:
    """Past the counter of writes: a run that finds its parameters written to by itself behaves differently then."""
    with torch.no_grad():
        tensor.data.copy_(value)


@dataclass
class _Written:
    """An entry as it was before an edit.

    Attributes:
        name: of the entry, as the edit names it.
        value: all that was held then.
    """

    step: int
    name: str
    value: Tensor


class CacheEntries:
    """What edits have written to the cache of the live run."""

    def __init__(self) -> None:
        self._written: list[_Written] = []

    def write(self, active: Sequence[Edit], step: int, cache: Any, outcomes: Outcomes, is_live: bool) -> None:
        """A step begins on a cache: writes what begins in it. Others who hold the tensors of before keep them."""
        for edit in active:
            if not _is_of(edit, "cache") or edit.steps.first != step:
                continue
            name = edit.target.name if isinstance(edit.target, StoredValue) else ""
            try:
                layer, attribute = _entry(cache, name)
            except CannotEdit as error:
                outcomes.problems[edit.id] = str(error)
                continue
            value: Tensor = getattr(layer, attribute)
            changed = outcomes.apply(edit, step, functools.partial(_entry_changed, edit, layer, value), value)
            if changed is value:
                continue
            if is_live and caches.only_appends(layer):
                self._written.append(_Written(step, name, value.clone() if _is_room(layer) else value))
            _set(layer, attribute, changed)

    def take_back(self, cache: Any, step: int, is_live: bool) -> None:
        """The cache has gone back to the start of a step, by being cropped: what was written since is taken out."""
        later = [written for written in self._written if written.step >= step]
        restored: set[str] = set()
        for written in later:  # the oldest of an entry is what it was
            if written.name in restored:
                continue
            restored.add(written.name)
            layer, attribute = _entry(cache, written.name, may_be_empty=True)
            held = getattr(layer, attribute)
            if held is None or not caches.only_appends(layer):
                continue
            if _is_room(layer):
                count = int(layer.cumulative_length)
                held[..., :count, :] = written.value[..., :count, :]
            else:
                setattr(layer, attribute, written.value[..., : held.shape[-2], :])
        if is_live:
            self._written = [written for written in self._written if written.step < step]


def _entry_changed(edit: Edit, layer: Any, value: Tensor) -> Tensor | None:
    """Of what a layer holds: (B, H, S, D) keys or values, of which a position is that of the text, or a state."""
    assert isinstance(edit.target, StoredValue)
    selection, moment = edit.target.selection, Moment(edit.steps.first, edit.target.name)
    part = value[..., : int(layer.cumulative_length), :] if _is_room(layer) else value
    is_by_position = part.dim() == 4 and (selection.positions is not None or selection.sequences is not None)
    shown = part.transpose(1, 2) if is_by_position else part  # positions are looked for in the second axis
    count = shown.shape[1] if is_by_position else 0
    seen = layer.get_seq_length() if is_by_position and hasattr(layer, "get_seq_length") else count
    positions = StepPositions(shown.shape[0], max(int(seen) - count, 0), count)
    index = selection.of(shown.shape, positions)
    if index is None:
        return None
    changed = edit.change.applied(shown, index, moment)
    changed = changed.transpose(1, 2).contiguous() if is_by_position else changed
    return torch.cat([changed, value[..., changed.shape[-2] :, :]], dim=-2) if _is_room(layer) else changed


def _entry(cache: Any, name: str, may_be_empty: bool = False) -> tuple[Any, str]:
    """The layer that holds `3.keys`, or `3.cross_values` of an encoder–decoder, and the name there.

    Raises:
        CannotEdit: nothing is held there.
    """
    number, _, attribute = name.partition(".")
    if isinstance(cache, EncoderDecoderCache):
        is_cross = attribute.startswith("cross_")
        cache = cache.cross_attention_cache if is_cross else cache.self_attention_cache
        attribute = attribute.removeprefix("cross_")
    layers = getattr(cache, "layers", [])
    if not number.isdigit() or int(number) >= len(layers):
        held = f"it has layers 0 to {len(layers) - 1}" if layers else "it has no layers yet"
        raise CannotEdit(f"there is no entry '{name}' in the cache: {held}")
    layer = layers[int(number)]
    value = getattr(layer, attribute, None)
    if not may_be_empty and (not isinstance(value, Tensor) or not value.numel()):
        raise CannotEdit(f"layer {number} of the cache holds no '{attribute}' when this step begins")
    return layer, attribute


def _set(layer: Any, attribute: str, value: Tensor) -> None:
    if _is_room(layer):
        getattr(layer, attribute).copy_(value)
    else:
        setattr(layer, attribute, value)


def _is_room(layer: Any) -> bool:
    """Whether it has taken room for all positions at once."""
    return isinstance(layer, StaticLayer)


def _is_of(edit: Edit, kind: str) -> bool:
    return isinstance(edit.target, StoredValue) and edit.target.kind == kind
