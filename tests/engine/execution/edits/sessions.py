"""Sessions that edit a run, each stop answered by the next of some functions; and the same edits made by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import set_seed

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import Edit, ModuleValue, Steps, Target
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import Selection
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from tests.engine.execution.straight import SEED
from tests.engine.walk import Walk
from tests.models.tiny import PAD, VOCABULARY

Answer = Callable[["Session", Stop], Motion | None]
"""Answers a stop; None if it has let the run go on itself."""


def turned(stepper: Stepper, edits: Edits) -> bool:
    """Goes on with these edits in the present branch; whether the run has to move for that."""
    turn = stepper.settle(edits)
    if turn is not None:
        stepper.turn(turn)
    return turn is not None


class Session(Walk):
    """Stops at the end of a run too. When no answers are left it runs on."""

    def __init__(self, model: Any, answers: list[Answer], *breakpoints: str, step: int = 0) -> None:
        """`step`: the first one in which stops are answered."""
        self._answers, self._step = list(answers), step
        super().__init__(Loaded(model, None), self._answer, breakpoints)

    def run(self, **options: Any) -> Any:
        """`generate` from the tests' seed, with logits."""
        set_seed(SEED)
        return self.generate(**asked(**options))

    def edit(self, stop: Stop, *edits: Edit) -> None:
        """More edits."""
        branches = stop.generation.branches
        self.put(stop, stop.generation.edits.plus(branches.numbered(edits)))

    def put(self, stop: Stop, edits: Edits) -> None:
        """These edits instead; lets the run go on if they change nothing that has run."""
        if not turned(self.stepper, edits):
            self.stepper.resume(Motion.RUN)

    def finished(self, generation: Generation) -> None:
        super().finished(generation)
        generation.is_over = True
        self.stepper.at_end()

    def _answer(self, stop: Stop) -> Motion | None:
        is_early = stop.place.step < self._step
        if is_early or not self._answers:
            return Motion.RUN
        self._step = 0  # the run may go back from now on
        return self._answers.pop(0)(self, stop)


def asked(**options: Any) -> dict[str, Any]:
    """A batch (2, 6), the second text left-padded, for six steps."""
    ids = torch.randint(3, VOCABULARY, (2, 6), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    ids[1, :2], mask[1, :2] = PAD, 0
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "max_new_tokens": 6,
        "disable_compile": True,
        "eos_token_id": None,
        "return_dict_in_generate": True,
        "output_logits": True,
        **options,
    }


def plain(model: Any, **options: Any) -> Any:
    """`generate` without the debugger, from the tests' seed."""
    set_seed(SEED)
    return model.generate(**asked(**options))


@contextmanager
def by_hand(module: nn.Module, change: Callable[[int, Tensor], Tensor], of_input: bool = False) -> Iterator[None]:
    """A module whose first tensor is changed by hooks of the test, which are told the step."""
    steps = iter(range(1000))

    def ends(_module: nn.Module, _args: Any, output: Any) -> Any:
        step = next(steps)
        return (change(step, output[0]), *output[1:]) if isinstance(output, tuple) else change(step, output)

    def begins(_module: nn.Module, args: Any) -> Any:
        return (change(next(steps), args[0]), *args[1:])

    handle = module.register_forward_pre_hook(begins) if of_input else module.register_forward_hook(ends)
    try:
        yield
    finally:
        handle.remove()


def edit(target: Target, kind: Any, first: int = 0, last: int | None = None, **change: Any) -> Edit:
    return Edit(target, Change(kind, **change), Steps(first, last))


def output(path: str, **selection: Any) -> ModuleValue:
    return ModuleValue(path, selection=Selection(**selection))


def same_run(ours: Any, theirs: Any) -> bool:
    """Whether two results of `generate` have the same tokens and the same logits, to the last bit."""
    return torch.equal(ours.sequences, theirs.sequences) and all(
        torch.equal(a, b) for a, b in zip(ours.logits, theirs.logits, strict=True)
    )


def go_on(_session: Session, _stop: Stop) -> Motion:
    return Motion.RUN


def editing(*edits: Edit) -> Answer:
    """Answers a stop with edits."""
    return lambda session, stop: session.edit(stop, *edits)
