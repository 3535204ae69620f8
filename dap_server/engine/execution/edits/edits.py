"""The edits of one branch of a run, in the order in which they are applied: a value, of which others are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from dap_server.engine.execution.edits.edit import Edit, Logits, Option, Prompt, StoredValue, Token
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.protocol.errors import RequestError


class NoSuchEdit(RequestError):
    """There is no edit of that number in the present branch."""

    id = 57


class PromptText(NamedTuple):
    """Another prompt, of one sequence or, with None, of all."""

    sequence: int | None
    text: str


@dataclass(frozen=True)
class Edits:
    """Some edits. Equal lists change every step in the same way."""

    all: tuple[Edit, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.all)

    def active(self, step: int) -> tuple[Edit, ...]:
        """Those that a step is run with."""
        return tuple(edit for edit in self.all if edit.is_active(step))

    @property
    def prompts(self) -> tuple[PromptText, ...]:
        """The texts that the run begins with instead of its own; those that others have taken the place of left out."""
        found: dict[int | None, str] = {}
        for edit in self.all:
            if isinstance(edit.target, Prompt) and edit.is_on and edit.change.text is not None:
                if edit.target.sequence is None:
                    found.clear()
                found[edit.target.sequence] = edit.change.text
        return tuple(PromptText(sequence, text) for sequence, text in found.items())

    def of(self, id: int) -> Edit:
        """Raises NoSuchEdit."""
        for edit in self.all:
            if edit.id == id:
                return edit
        known = ", ".join(str(edit.id) for edit in self.all)
        raise NoSuchEdit(f"there is no edit {id} in this branch: {f'it has {known}' if known else 'it has none'}")

    def plus(self, more: Iterable[Edit]) -> Edits:
        return Edits((*self.all, *more))

    def without(self, id: int) -> Edits:
        """Raises NoSuchEdit."""
        undone = self.of(id)
        return Edits(tuple(edit for edit in self.all if edit is not undone))

    def switched(self, id: int, is_on: bool) -> Edits:
        """With one of them applied or not. Raises NoSuchEdit."""
        changed = self.of(id)
        return Edits(tuple(replace(edit, is_on=is_on) if edit is changed else edit for edit in self.all))

    def first_difference(self, other: Edits) -> int | None:
        """The first step that two lists run differently; None if there is none."""
        both = (*self.all, *other.all)
        turns = {edit.steps.first for edit in both} | {e.steps.last + 1 for e in both if e.steps.last is not None}
        return next((step for step in sorted(turns) if self._what(step) != other._what(step)), None)

    def require_modules_only(self) -> None:
        """Raises CannotEdit: one is about what only a loop of ours tells, the choice of a token or the cache."""
        for edit in self.all:
            is_entry = isinstance(edit.target, StoredValue) and edit.target.kind == "cache"
            if is_entry or isinstance(edit.target, Logits | Token | Option):
                what = "the cache" if is_entry else "the choice of tokens"
                raise CannotEdit(
                    f"{what} cannot be edited here, it is in a loop that tells nothing of it or has not begun: edit "
                    "what modules are given or return, attention or parameters"
                )

    def require_no_parameters(self) -> None:
        """Raises CannotEdit: one is of a weight, which has its own bytes again when gradients are taken."""
        if any(isinstance(edit.target, StoredValue) and edit.target.kind == "parameter" for edit in self.all):
            raise CannotEdit(
                "a weight cannot be edited in a forward that gradients go back through: they would be of neither "
                "weight. Edit what the module returns, or have the program call the model under torch.no_grad()"
            )

    def _what(self, step: int) -> list[object]:
        return [(edit.target, edit.change, _since(edit)) for edit in self.active(step)]


def _since(edit: Edit) -> int | None:
    """What is written to a cache at the beginning of a step is another edit if that is another step."""
    is_entry = isinstance(edit.target, StoredValue) and edit.target.kind == "cache"
    return edit.steps.first if is_entry else None
