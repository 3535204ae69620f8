"""What became of edits when steps were run with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from dap_server.engine.execution.edits.edit import Edit
from dap_server.engine.execution.edits.selection import CannotEdit


class Outcomes:
    """What became of the edits of one branch.

    Attributes:
        met: by number, the steps in which an edit had something to change.
        problems: by number, why an edit could not be applied where it was met; the value is then left as it was.
    """

    def __init__(self) -> None:
        self.met: dict[int, set[int]] = {}
        self.problems: dict[int, str] = {}

    def take_over(self, others: Outcomes) -> None:
        """What became of edits that are as they were."""
        self.problems |= others.problems
        for id, steps in others.met.items():
            self.met[id] = self.met.get(id, set()) | steps

    def apply(self, edit: Edit, step: int, change: Callable[[], Tensor | None], otherwise: Tensor) -> Tensor:
        """The value that an edit makes; the one of before where it selects nothing, or does not fit."""
        try:
            changed = change()
        except Exception as error:  # the run goes on, whatever is wrong with an edit
            is_ours = isinstance(error, CannotEdit)
            self.problems[edit.id] = str(error) if is_ours else f"{type(error).__name__}: {error}"
            return otherwise
        if changed is None:
            return otherwise
        self.met.setdefault(edit.id, set()).add(step)
        return changed


@contextmanager
def unseen() -> Iterator[None]:
    """What an edit computes is no operation of the model, for whoever listens to these."""
    with _disable_current_modes(), torch._C.DisableTorchFunction():
        yield
