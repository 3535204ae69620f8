"""The edits of a decode loop, where a step meets them: modules, logits, the token."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from types import UnionType
from typing import TYPE_CHECKING

from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.changes import Moment
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Logits, ModuleValue, Token
from dap_server.engine.execution.edits.selection import Index, StepPositions

if TYPE_CHECKING:
    from dap_server.engine.execution.generation import Generation


class StepEdits:
    """Of one loop and its replays. Without edits nothing is done and no hook is set."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._modules = ModuleEdits(anatomy)

    def of_modules(self, generation: Generation, step: int, end: int) -> AbstractContextManager[None]:
        """While it is open, a forward is one with edits. `end`: how long the text is in this step."""
        active = _active(generation, step, ModuleValue | AttentionValue)
        if not active:
            return nullcontext()
        return self._modules.applied(lambda: (step, active), generation.branches.outcomes, end)

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
            index = (...,) if target.sequence is None else (target.sequence,)
        elif isinstance(target, Logits):
            index = target.selection.of(value.shape, positions)
        return None if index is None else edit.change.applied(value, index, Moment(step, "logits"))

    return generation.branches.outcomes.apply(edit, step, change, value)
