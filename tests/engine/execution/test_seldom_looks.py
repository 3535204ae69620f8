"""What moves where the tape looks seldom: a run goes back all the same, and to the very same tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from dap_server.engine.execution.breakpoints import Breakpoint
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.modelmap.places import END, STEP, Place
from tests.engine.execution.journey import Journey, Move
from tests.engine.execution.straight import Ask, Straight, asking, run_straight, same
from tests.models.tiny import tiny_model

PROMPT = 6
STEPS = 40
Change = Callable[[int, int], int]
"""An argument of the model, of what it was and the step that has been."""

CHANGES: dict[str, Change] = {
    "to and fro": lambda was, _step: 1 - was,
    "of three": lambda was, _step: (was + 1) % 3,
    "once": lambda _was, step: int(step >= 20),
    "for a while": lambda _was, step: int(10 <= step < 13),
}


def shifting(change: Change) -> Any:
    """A model with an argument that shifts its tokens."""
    model = tiny_model("llama")

    class Shifting(type(model)):  # type: ignore[misc]  # whatever class it is
        def _update_model_kwargs_for_generation(self, outputs: Any, model_kwargs: Any, **more: Any) -> Any:
            made = super()._update_model_kwargs_for_generation(outputs, model_kwargs, **more)
            made["shift"] = change(made["shift"], made["attention_mask"].shape[1] - PROMPT)
            return made

        def prepare_inputs_for_generation(self, input_ids: Tensor, shift: int = 0, **more: Any) -> Any:
            return {**super().prepare_inputs_for_generation(input_ids, **more), "shift": shift}

        def forward(self, *args: Any, shift: int = 0, **kwargs: Any) -> Any:
            if shift:
                kwargs["input_ids"] = (kwargs["input_ids"] + shift) % 50
            return super().forward(*args, **kwargs)

        def _validate_model_kwargs(self, model_kwargs: Any) -> None:
            """All are fine."""

    model.__class__ = Shifting
    return model


class FromPython(LogitsProcessor):  # type: ignore[misc]  # transformers is not typed
    """Draws from Python's generator, from a step on."""

    def __init__(self, first: int) -> None:
        self.first = first

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if input_ids.shape[1] - PROMPT < self.first:
            return scores
        return scores + torch.tensor([random.random() for _ in range(scores.shape[-1])])


def goes_back(model: Any, ask: Ask, step: int) -> None:
    """From the end of a run, which has looked at some steps from there."""
    straight = run_straight(model, ask)

    def guide(journey: Journey, stop: Stop) -> Move:
        if stop.place.path == END and len(journey.places) == 1:
            for earlier in range(step, step + 3):
                journey.choice(stop, earlier)
            return Place(step, STEP)
        assert stop.generation.diverged_at is None
        return Motion.RUN

    journey = Journey(model, straight, guide)
    assert same(journey.generate(ask), straight.result)
    assert len(journey.places) == 3, "the end, where it went back to, and the end"


@pytest.mark.parametrize("step", [7, 11, 15, 27])
@pytest.mark.parametrize("is_sampled", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("change", CHANGES)
def test_an_argument_of_the_model_that_changes(change: str, is_sampled: bool, step: int) -> None:
    goes_back(shifting(CHANGES[change]), asking({"do_sample": is_sampled, "shift": 0}, steps=STEPS), step)


@pytest.mark.parametrize("is_sampled", [False, True], ids=["greedy", "sampled"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_processor_that_draws_from_python(first: int, is_sampled: bool) -> None:
    def ask() -> dict[str, Any]:
        given = asking({"do_sample": is_sampled}, steps=12)()
        return {**given, "logits_processor": LogitsProcessorList([FromPython(first)])}

    goes_back(tiny_model("llama"), ask, 5)


def test_operations_are_not_seen_any_more_when_their_breakpoint_is_taken_away() -> None:
    model, seen = tiny_model("llama"), []
    journey = Journey(model, Straight(), lambda _journey, _stop: Motion.RUN)
    stepper = journey.stepper
    stepper.set_breakpoints([Breakpoint(1, "bitwise_xor", "before", [], None, frozenset({"bitwise_xor"}))])

    def note(*_: object) -> None:
        if stepper.generation.is_own_loop:
            seen.append(torch._C._len_torch_dispatch_stack())
            if stepper.generation.step == 3:
                stepper.set_breakpoints([])

    model.register_forward_pre_hook(note)
    journey.check = lambda stop: None  # type: ignore[method-assign]  # nothing is known of this run
    journey.generate(asking({"do_sample": False}, steps=8))
    assert seen == [1, 1, 1, 1, 0, 0, 0, 0]
