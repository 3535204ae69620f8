"""The edits of a decode loop, where a step meets them: modules, logits, the token."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from types import UnionType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.changes import Moment
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Expert, Logits, ModuleValue, Option, Token
from dap_server.engine.execution.edits.options import Sampling, with_options
from dap_server.engine.execution.edits.outcomes import Outcomes
from dap_server.engine.execution.edits.selection import CannotEdit, Index, StepPositions
from dap_server.engine.execution.edits.stored import CacheEntries, StoredParameters

if TYPE_CHECKING:
    from dap_server.engine.execution.generation import Generation


class StepEdits:
    """Of one loop and its replays. Without edits nothing is done and no hook is set."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._modules = ModuleEdits(anatomy)
        self._parameters = StoredParameters(anatomy)
        self._entries = CacheEntries()
        self._sampling: tuple[tuple[Edit, ...], Outcomes, Sampling] | None = None
        self._model = anatomy.model

    def beside(self) -> StepEdits:
        """Of another loop of the same model, which runs beside this one: there is one set of parameters."""
        other = copy.copy(self)
        other._entries, other._sampling = CacheEntries(), None
        return other

    @property
    def still_applied(self) -> bool:
        """Whether something is still as edits have it that may be active no longer."""
        return self._parameters.are_edited

    def begin(self, generation: Generation, step: int, cache: Any, is_live: bool) -> None:
        """A step begins: what lasts is as the edits have it."""
        active = generation.edits.active(step) if generation.edits else ()
        self._parameters.bring(active, generation.branches.outcomes)
        if active:
            self._entries.write(active, step, cache, generation.branches.outcomes, is_live)

    def gone_back(self, cache: Any, step: int, is_live: bool) -> None:
        """A cache has been brought back to the start of a step."""
        self._entries.take_back(cache, step, is_live)

    def kept(self) -> AbstractContextManager[None]:
        """Leaves parameters as they were found."""
        return self._parameters.kept()

    def end(self) -> None:
        """Parameters have their own bytes again."""
        self._parameters.bring(())

    def sampling(self, generation: Generation, step: int, given: Sampling) -> Sampling:
        """How a step chooses its token, where `given` is how the run was told to."""
        active = _active(generation, step, Option)
        if not active:
            return given
        if self._sampling is None or self._sampling[0] != active:
            outcomes = Outcomes()
            self._sampling = active, outcomes, self._with_options(step, given, active, outcomes)
        generation.branches.outcomes.take_over(self._sampling[1])
        return self._sampling[2]

    def _with_options(self, step: int, given: Sampling, active: tuple[Edit, ...], outcomes: Outcomes) -> Sampling:
        options: dict[str, float] = {}
        made = given
        for edit in active:
            name = edit.target.name if isinstance(edit.target, Option) else ""
            try:
                made = with_options(self._model, given, {**options, name: edit.change.number or 0.0})
            except CannotEdit as error:
                outcomes.problems[edit.id] = str(error)
            else:
                options[name] = edit.change.number or 0.0
                outcomes.met.setdefault(edit.id, set()).add(step)
        return made

    def of_modules(self, generation: Generation, step: int, end: int) -> AbstractContextManager[None]:
        """While it is open, a forward is one with edits. `end`: how long the text is in this step."""
        active = _active(generation, step, ModuleValue | AttentionValue | Expert)
        if not active:
            return nullcontext()
        return self._modules.applied(lambda: (step, active), generation.branches.outcomes, end)

    def of_a_text(self, generation: Generation, end: int) -> AbstractContextManager[None]:
        """The same for a forward over a whole text at once: with the edits that are active in every step."""
        lasting = [edit for edit in _active(generation, 0, ModuleValue | AttentionValue) if edit.steps.last is None]
        return self._modules.applied(lambda: (0, lasting), Outcomes(), end) if lasting else nullcontext()

    def of_logits(self, generation: Generation, step: int, logits: Tensor) -> Tensor:
        """Logits (B, V) to go on with. They are those of the last position of the text."""
        for edit in _active(generation, step, Logits):
            logits = _changed(edit, generation, step, logits)
        return logits

    def of_tokens(self, generation: Generation, tokens: Tensor) -> Tensor:
        """Tokens (B,) to go on with, of those that were drawn."""
        step = generation.step
        for edit in _active(generation, step, Token):
            tokens = _changed(edit, generation, step, tokens)
        return tokens


def _active(generation: Generation, step: int, kind: type | UnionType) -> tuple[Edit, ...]:
    edits = generation.edits
    return tuple(e for e in edits.active(step) if isinstance(e.target, kind)) if edits else ()


def _changed(edit: Edit, generation: Generation, step: int, value: Tensor) -> Tensor:
    target = edit.target
    positions = StepPositions(value.shape[0], 0, 0)

    def change() -> Tensor | None:
        index: Index | None = None
        if isinstance(target, Token):
            if (target.sequence or 0) >= len(value):
                raise CannotEdit(f"no sequence {target.sequence}: there are {len(value)}, counted from 0")
            index = (...,) if target.sequence is None else (target.sequence,)
        elif isinstance(target, Logits):
            index = target.selection.of(value.shape, positions)
        return None if index is None else edit.change.applied(value, index, Moment(step, "logits"))

    return generation.branches.outcomes.apply(edit, step, change, value)
