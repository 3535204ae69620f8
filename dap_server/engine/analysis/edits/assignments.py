"""Assignments to what the run uses, read as edits: `output[0, -1] = 0`, `hidden *= 2`, `token = " Tokyo"`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.conditions.data_ids import DataId, Index, joined
from dap_server.engine.analysis.edits.proposal import Proposal, Which, which_by_default
from dap_server.engine.analysis.watching import Look, constant_index, pointed_at
from dap_server.engine.anatomy.modules import Anatomy, forward_of
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import (
    AttentionValue,
    Logits,
    ModuleValue,
    Option,
    Prompt,
    StoredValue,
    Target,
    Token,
)
from dap_server.engine.execution.edits.selection import CannotEdit, Selection
from dap_server.engine.execution.stops import NOTHING
from dap_server.engine.execution.watchable import OPTIONS
from dap_server.engine.inspection.frames import Frame
from dap_server.modelmap.patterns import WHOLE_MODEL
from dap_server.protocol.errors import RequestError

Evaluate = Callable[[str], Any]
"""The value of an expression in a frame. Raises RequestError."""


@dataclass(frozen=True)
class Assignment:
    """`target operator= value`, as somebody wrote it; `operator` is empty for a plain one."""

    target: str
    operator: str
    value: str


_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}


def read_assignment(text: str) -> Assignment | None:
    """None for a text that is no assignment to one target."""
    try:
        body = ast.parse(text.strip()).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    match body:
        case [ast.Assign(targets=[target], value=value)]:
            return Assignment(ast.unparse(target), "", ast.unparse(value))
        case [ast.AugAssign(target=target, op=op, value=value)] if type(op) in _OPERATORS:
            return Assignment(ast.unparse(target), _OPERATORS[type(op)], ast.unparse(value))
    return None


class Pointing:
    """What names and parts of values mean as targets, in one frame."""

    def __init__(self, frame: Frame, look: Look, evaluate: Evaluate, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        """`look` runs nobody's code, `evaluate` does."""
        self._frame, self._look, self._evaluate = frame, look, evaluate
        self._anatomy, self._vocabulary = anatomy, vocabulary

    def proposal(self, assignment: Assignment, steps: Which | None = None) -> Proposal | None:
        """The edit that an assignment is; None where its target is nothing that the run uses.

        Raises:
            CannotEdit: it is, and cannot become that.
        """
        target = self.target(assignment.target)
        if target is None:
            return None
        return Proposal(target, self._change(target, assignment), steps or which_by_default(target))

    def target(self, text: str) -> Target | None:
        """What an expression points at, where that can be edited."""
        try:
            node = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return None
        indexes: list[Index] = []
        while isinstance(node, ast.Subscript) and (index := constant_index(node.slice)) is not None:
            indexes.insert(0, index)
            node = node.value
        if isinstance(node, ast.Name) and (found := self._named(node.id, _one(node.id, indexes))) is not None:
            return found
        data = pointed_at(text, self._frame, self._look, self._anatomy)
        if data is not None:
            return _target_of(data)
        return self._part(node.id, indexes) if isinstance(node, ast.Name) else None

    def _part(self, name: str, indexes: list[Index]) -> Target | None:
        """An argument of a module by its name, or an item of what it returned."""
        frame = self._frame
        if frame.path is None or frame.kind not in ("module", "past layer"):
            return None
        if name == "output" and indexes and len(indexes[0]) == 1 and isinstance(part := indexes[0][0], int):
            return ModuleValue(frame.path, "output", max(part, 0), Selection(index=_one(name, indexes[1:])))
        forward: Any = forward_of(type(self._anatomy.modules[frame.path]))
        if name not in inspect.signature(forward).parameters:
            return None
        return ModuleValue(frame.path, "input", name, Selection(index=_one(name, indexes)))

    def _named(self, name: str, index: Index | None) -> Target | None:
        """Names that mean something to edits beyond the values that they have."""
        frame, generation = self._frame, self._frame.stop.generation
        path, is_known = frame.path, frame.is_top and frame.stop.output is not NOTHING
        if path is not None and (name == "hidden" or (name == "output" and not is_known)):
            return ModuleValue(path, "output", None, Selection(index=index))
        if path is not None and name == "input" and frame.is_past:
            return ModuleValue(path, "input", None, Selection(index=index))
        if path is not None and name == "attention":
            return _attention(path, index or ())
        if name == "prompt" and index is None and self._is_prompt():
            return Prompt(frame.sequence if len(generation.prompts_of(generation.edits) or ()) > 1 else None)
        if self._is_local(name):
            return None
        if name in ("scores", "probs"):
            raise CannotEdit(f"{name} are what sampling makes of the logits: change `logits`, or an option")
        if name == "logits":
            return Logits(Selection(index=index))
        if name == "token" and index is None:
            return Token(None if generation.sequences == 1 else frame.sequence)
        return Option(name) if name in OPTIONS and index is None else None

    def _is_prompt(self) -> bool:
        """Whether `prompt` is what the run begins with, and no other value of the frame or of a program."""
        if self._frame.stop.generation.run is None:
            return False
        try:
            return isinstance(self._look("prompt"), str)
        except RequestError:
            return True  # of an encoder, where it cannot be changed

    def _is_local(self, name: str) -> bool:
        """Whether the frame has a value of that name itself, such as a local name of a `forward`."""
        if self._frame.kind not in ("forward", "call"):
            return False
        try:
            self._look(name)
        except RequestError:
            return False
        return True

    def _change(self, target: Target, assignment: Assignment) -> Change:
        if isinstance(target, Prompt):
            return Change("set", text=self._text(assignment))
        value = self._value(target, assignment.value)
        if isinstance(target, Token):
            if assignment.operator:
                raise CannotEdit("a token is set to another one: write token = ' Tokyo'")
            return Change("force", tokens=(self._vocabulary.find(value),))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        match assignment.operator:
            case "" if isinstance(value, bool | int | float):
                return Change("set", number=float(value))
            case "":
                return Change("set", tensor=_tensor(value))
            case "*" if is_number:
                return Change("scale", number=float(value))
            case "/" if is_number and value:
                return Change("scale", number=1.0 / value)
            case "+" | "-":
                return Change("steer", number=1.0 if assignment.operator == "+" else -1.0, tensor=_tensor(value))
        whole = f"({assignment.target}) {assignment.operator} ({assignment.value})"
        return Change("set", tensor=_tensor(self._evaluate(whole)))

    def _value(self, target: Target, text: str) -> Any:
        if text.strip() in ("nan", "inf", "-inf"):  # as rows show them
            return float(text)
        try:
            return self._evaluate(text)
        except RequestError:
            if isinstance(target, Token):
                return text  # a word without quotes
            raise

    def _text(self, assignment: Assignment) -> str:
        """Of a prompt: a Python expression, or what no expression is, as it stands."""
        try:
            ast.parse(assignment.value.strip(), mode="eval")
        except (SyntaxError, ValueError):
            return assignment.value
        whole = f"({assignment.target}) {assignment.operator} ({assignment.value})"
        text = self._evaluate(whole if assignment.operator else assignment.value)
        if not isinstance(text, str):
            raise CannotEdit(f"a prompt is a text, and {text!r} is none: write it in quotes")
        return text


def _target_of(data: DataId) -> Target | None:
    """What is watched by a data id."""
    selection = Selection(index=_one(data.name, data.indexes))
    path = "" if data.name == WHOLE_MODEL else data.name
    match data.kind:
        case "parameter" | "cache":
            return StoredValue(data.kind, data.name, selection)
        case "activation":
            return ModuleValue(path, "output", None, selection)
        case "input":
            return ModuleValue(path, "input", None, selection)
        case "option":
            return Option(data.name)
    return None


def _one(name: str, indexes: Sequence[Index]) -> Index | None:
    as_one = joined(list(indexes))
    if len(as_one) > 1:
        raise CannotEdit(f"write one pair of brackets behind '{name}', with all indices in it")
    return as_one[0] if as_one else None


def _attention(path: str, index: Index) -> AttentionValue:
    """`attention[head, query, key]`: where the heads of a frame's module look; `:` is all of them."""
    members: list[tuple[int, ...] | None] = []
    for part in (*index, *[slice(None)] * (3 - len(index))):
        if part == slice(None):
            members.append(None)
        elif isinstance(part, int):
            members.append((part,))
        elif isinstance(part, slice) and part.start is not None and part.stop is not None and part.start >= 0:
            members.append(tuple(range(part.start, part.stop, part.step or 1)))
        else:
            raise CannotEdit("write attention[head, query, key], with numbers, start:end or : for all")
    if len(members) > 3:
        raise CannotEdit("attention has three axes: write attention[head, query, key]")
    heads, queries, keys = members
    return AttentionValue(path, "pattern", heads, queries, keys)


def _tensor(value: object) -> Tensor:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise CannotEdit(f"{type(value).__name__} is neither a number nor a tensor") from None
    return tensor.detach().clone()
