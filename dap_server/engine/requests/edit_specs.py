"""Edits as messages and files have them, read and written; their tensors to the last bit."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from dap_server.conditions.data_ids import DataIdError, index_text, parse_index
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.edits.changes import Change, Source
from dap_server.engine.execution.edits.checking import require_sense
from dap_server.engine.execution.edits.edit import (
    AttentionValue,
    Edit,
    Expert,
    Logits,
    ModuleValue,
    Option,
    Prompt,
    Steps,
    StoredValue,
    Target,
    Token,
)
from dap_server.engine.execution.edits.selection import CannotEdit, Selection
from dap_server.engine.execution.edits.wording import edit_text
from dap_server.modelmap.patterns import WHOLE_MODEL
from dap_server.protocol.llm.edits import (
    EditChange,
    EditInfo,
    EditSource,
    EditSpec,
    EditSteps,
    EditTarget,
    EditTensor,
    Number,
)

_ELEMENTS = frozenset(["sequences", "positions", "neurons", "index"])
_FIELDS: dict[str, frozenset[str]] = {
    "module": frozenset(["path", "value", "part"]) | _ELEMENTS,
    "attention": frozenset(["path", "value", "heads", "queries", "keys", "sequences"]),
    "parameter": frozenset(["name", "neurons", "index"]),
    "cache": frozenset(["name"]) | _ELEMENTS,
    "logits": frozenset(["sequences", "neurons", "index"]),
    "token": frozenset(["sequences"]),
    "option": frozenset(["name"]),
    "expert": frozenset(["path", "expert"]),
    "prompt": frozenset(["sequences"]),
}
"""What may be said of a target."""
_NEEDED: dict[str, tuple[str, ...]] = {
    "module": ("path",),
    "attention": ("path",),
    "parameter": ("name",),
    "cache": ("name",),
    "option": ("name",),
    "expert": ("path", "expert"),
}
_DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}


class EditSpecs:
    """Reads and writes the edits of one model."""

    def __init__(self, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        self._anatomy, self._vocabulary = anatomy, vocabulary

    def edit(self, spec: EditSpec, steps: Steps, tensor: Tensor | None = None) -> Edit:
        """An edit that is on no list yet.

        Args:
            steps: where the spec does not say them.
            tensor: what its source or its kind asks for, where it has been found.

        Raises:
            CannotEdit, UnknownToken: it means nothing in this model.
        """
        target = target_of(spec.target)
        change = self._change(spec.change, tensor)
        require_sense(target, change, self._anatomy)
        if spec.steps is not None:
            steps = Steps(spec.steps.first, spec.steps.last)
        if isinstance(target, Prompt) and steps != Steps(0):
            raise CannotEdit("all steps follow from the prompt: leave out its 'steps'")
        return self.worded(Edit(target, change, steps, is_on=spec.enabled))

    def worded(self, edit: Edit) -> Edit:
        """The same with its text."""
        text = edit_text(edit.target, edit.change, edit.steps, self._vocabulary)
        return Edit(edit.target, edit.change, edit.steps, edit.id, edit.is_on, text)

    def info(self, edit: Edit, problem: str | None = None, with_data: bool = False) -> EditInfo:
        """How an edit is told."""
        spec = spec_of(edit, with_data)
        return EditInfo(id=edit.id, spec=spec, text=edit.text, enabled=edit.is_on, problem=problem)

    def tokens(self, tokens: Sequence[int | str]) -> tuple[int, ...]:
        """The ids of tokens. Raises UnknownToken."""
        return tuple(self._vocabulary.find(token) for token in tokens)

    def _change(self, spec: EditChange, tensor: Tensor | None) -> Change:
        if spec.tensor is not None:
            tensor = decoded(spec.tensor)
        return Change(
            spec.kind,
            number=_number(spec.number),
            low=_number(spec.low),
            high=_number(spec.high),
            seed=spec.seed or 0,
            tokens=self.tokens(spec.tokens or ()),
            tensor=tensor,
            source=source_of(spec.source),
            text=spec.text,
        )


def target_of(spec: EditTarget) -> Target:
    """Raises CannotEdit: what the kind needs is missing, or something is said that it has not got."""
    said = {name for name in EditTarget.__struct_fields__ if name != "kind" and getattr(spec, name) is not None}
    if wrong := said - _FIELDS[spec.kind]:
        raise CannotEdit(f"a target of kind '{spec.kind}' has no {', '.join(sorted(wrong))}")
    if missing := [name for name in _NEEDED.get(spec.kind, ()) if name not in said]:
        raise CannotEdit(f"a target of kind '{spec.kind}' needs its '{missing[0]}'")
    path = "" if spec.path in (None, WHOLE_MODEL) else spec.path or ""
    name = spec.name or ""
    match spec.kind:
        case "module":
            value = spec.value or "output"
            if value not in ("input", "output"):
                raise CannotEdit(f"a module has no '{value}': its value is 'input' or 'output'")
            return ModuleValue(path, value, spec.part, _selection(spec))
        case "attention":
            value = spec.value or "heads"
            if value not in ("heads", "pattern", "scores"):
                raise CannotEdit(f"attention has no '{value}': its value is 'heads', 'pattern' or 'scores'")
            heads, queries, keys = _members(spec.heads), _members(spec.queries), _members(spec.keys)
            return AttentionValue(path, value, heads, queries, keys, _members(spec.sequences))
        case "parameter" | "cache":
            return StoredValue(spec.kind, name, _selection(spec))
        case "logits":
            return Logits(_selection(spec))
        case "token" | "prompt":
            sequences = spec.sequences or []
            if len(sequences) > 1:
                raise CannotEdit(f"the {spec.kind} of one sequence, or of all of them, is changed at once")
            of = Token if spec.kind == "token" else Prompt
            return of(sequences[0] if sequences else None)
        case "option":
            return Option(name)
        case "expert":
            return Expert(path, spec.expert or 0)


def source_of(spec: EditSource | None) -> Source | None:
    if spec is None:
        return None
    return Source(spec.prompt, spec.branch, spec.path, _members(spec.positions), spec.step)


def spec_of(edit: Edit, with_data: bool) -> EditSpec:
    """What `EditSpecs.edit` makes the same edit of, if it has the numbers of its tensor."""
    change, steps = edit.change, edit.steps
    told = EditChange(
        kind=change.kind,
        number=_told(change.number),
        low=_told(change.low),
        high=_told(change.high),
        seed=change.seed or None,
        tokens=list(change.tokens) or None,
        tensor=None if change.tensor is None else encoded(change.tensor, with_data),
        source=None if change.source is None else EditSource(**_lists(vars(change.source))),
        text=change.text,
    )
    return EditSpec(
        target=_told_target(edit.target),
        change=told,
        steps=EditSteps(first=steps.first, last=steps.last),
        enabled=edit.is_on,
    )


def require_words(edit: Edit) -> None:
    """Raises CannotEdit: messages and files could not say it. The console may make what they never bring."""
    try:
        msgspec.convert(msgspec.to_builtins(spec_of(edit, with_data=False)), EditSpec)
    except (msgspec.MsgspecError, TypeError, OverflowError) as error:
        raise CannotEdit(f"no message could say this edit: {error}") from None


def _told_target(target: Target) -> EditTarget:
    match target:
        case ModuleValue(path, value, part, selection):
            where = _told_selection(selection)
            return EditTarget(kind="module", path=path or WHOLE_MODEL, value=value, part=part, **where)
        case AttentionValue():
            return EditTarget(kind="attention", **_lists(vars(target)))
        case StoredValue(kind, name, selection):
            return EditTarget(kind=kind, name=name, **_told_selection(selection))
        case Logits(selection):
            return EditTarget(kind="logits", **_told_selection(selection))
        case Token(sequence) | Prompt(sequence):
            what: Literal["token", "prompt"] = "token" if isinstance(target, Token) else "prompt"
            return EditTarget(kind=what, sequences=None if sequence is None else [sequence])
        case Option(name):
            return EditTarget(kind="option", name=name)
        case Expert(path, index):
            return EditTarget(kind="expert", path=path or WHOLE_MODEL, expert=index)


def encoded(tensor: Tensor, with_data: bool = True) -> EditTensor:
    """A tensor as text."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    data = base64.b64encode(plain.view(-1).view(torch.uint8).numpy().tobytes()).decode("ascii") if with_data else None
    return EditTensor(dtype=str(plain.dtype).removeprefix("torch."), shape=list(plain.shape), data=data)


def decoded(spec: EditTensor) -> Tensor:
    """Raises CannotEdit: the text is no tensor."""
    if (dtype := _DTYPES.get(spec.dtype)) is None:
        raise CannotEdit(f"there is no dtype '{spec.dtype}': write it as torch does, 'float32'")
    if spec.data is None:
        raise CannotEdit("the numbers of the tensor are missing")
    try:
        data = bytearray(base64.b64decode(spec.data, validate=True))
    except binascii.Error as error:
        raise CannotEdit(f"the numbers of the tensor are no base64: {error}") from None
    if len(data) != (expected := math.prod(spec.shape) * dtype.itemsize):
        raise CannotEdit(f"a tensor {spec.dtype} {spec.shape} has {expected:,} bytes, and these are {len(data):,}")
    flat = torch.frombuffer(data, dtype=torch.uint8).view(dtype) if data else torch.empty(0, dtype=dtype)
    return flat.view(spec.shape)


def _selection(spec: EditTarget) -> Selection:
    try:
        index = None if spec.index is None else parse_index(spec.index)
    except DataIdError as error:
        raise CannotEdit(str(error)) from None
    return Selection(_members(spec.sequences), _members(spec.positions), _members(spec.neurons), index)


def _told_selection(selection: Selection) -> dict[str, Any]:
    told = _lists(vars(selection))
    return told | {"index": None if selection.index is None else index_text(selection.index)}


def _lists(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}


def _members(numbers: list[int] | None) -> tuple[int, ...] | None:
    return None if numbers is None else tuple(numbers)


def _number(number: Number | None) -> float | None:
    return None if number is None else float(number)


def _told(number: float | None) -> Number | None:
    if number is None or math.isfinite(number):
        return number
    return "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
