"""An encoder runs before the first step of a generation: it belongs to step 0, and is stopped and gone back in too."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.prompting import PromptRun
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.engine.inspection.frames import prompt_ids
from dap_server.modelmap.places import END, Place
from dap_server.protocol.launch import LaunchArguments
from tests.e2e.tiny_checkpoints import tokenizer
from tests.engine.execution.journey import Journey, Move
from tests.engine.execution.straight import Straight, asking, returned, run_straight, run_straight_by_calls, same
from tests.models.tiny import tiny_model

ENCODER = {"bart": "model.encoder", "t5": "encoder"}
LAYERS = {"bart": "model.encoder.layers", "t5": "encoder.block"}


class InEncoder(Journey):
    """Takes some turns in the encoder, and lets the rest run."""

    def __init__(self, model: Any, straight: Straight, turns: list[Move]) -> None:
        super().__init__(model, straight, lambda _journey, _stop: Motion.RUN)
        self.turns = turns
        self.steps: set[int] = set()

    def move(self, stop: Stop) -> Move:
        if stop.place.path == END:
            return Motion.RUN
        self.steps.add(stop.generation.step)
        assert stop.generation.tape is not None
        if self.turns:
            return self.turns.pop(0)
        self.break_at()
        return Motion.RUN


@pytest.mark.parametrize("kind", ENCODER)
def test_the_encoder_of_a_beam_search_belongs_to_its_first_step(kind: str) -> None:
    model = tiny_model(kind)
    ask = asking({"num_beams": 2}, steps=3)
    call = lambda: model.generate(**ask())  # noqa: E731
    straight = run_straight_by_calls(model, call)
    first = Place(0, ENCODER[kind])
    turns: list[Move] = ["back_in", "back", Motion.NEXT, "back_out", Motion.IN, Motion.NEXT, Place(1, "")]
    turns += ["back_in", "last_hit", "last_hit", Motion.OPERATION, "back_by_operation", Motion.OPERATION, "back_out"]
    turns += [Place(0, ""), "back", Motion.RUN]
    journey = InEncoder(model, straight, turns)
    journey.break_at((f"{LAYERS[kind]}.1", "before"))
    generation = Generation()
    whole = WholeCall(journey.stepper, generation, torch.device("cpu"), call)
    assert same(returned(journey.run(generation, whole.run)), returned(straight.result))
    assert not turns
    assert journey.steps == {0, 1}
    assert next(iter(straight.seen)) == first
    assert journey.places[0] == Place(0, f"{LAYERS[kind]}.1")
    assert journey.places[-3:] == [Place(0, ""), first, journey.places[0]]


def test_the_prompt_of_a_beam_search_stays_what_the_encoder_has_read() -> None:
    model = tiny_model("t5")
    places: list[Place] = []
    prompts: list[list[int]] = []

    def stopped(stop: Stop) -> None:
        places.append(stop.place)
        prompts.append(prompt_ids(stop, 0))
        if len(places) == 1:
            stepper.travel(Place(0, "encoder"), "goto")
        else:
            stepper.resume(Motion.RUN)

    stepper = Stepper(Anatomy(model), stopped)
    written: list[str] = []
    launch = LaunchArguments(model="t5", prompt="one two", generation={"num_beams": 2, "max_new_tokens": 3})
    ids = PromptRun(Loaded(model, tokenizer(), Task.SEQ2SEQ), launch, stepper, written.append).run()
    assert [place.path for place in places] == [END, "encoder", END]
    assert prompts == [tokenizer()("one two")["input_ids"]] * 3
    text = tokenizer().decode(ids[0], skip_special_tokens=True)
    assert "".join(written) == f"one two\n{text}\n"


@pytest.mark.parametrize("kind", ENCODER)
def test_a_run_stops_and_goes_back_in_the_encoder_before_its_first_step(kind: str) -> None:
    model = tiny_model(kind)
    ask = asking({}, steps=3)
    straight = run_straight(model, ask)
    turns: list[Move] = ["back_in", "back", Motion.NEXT, "back_out", Motion.IN, Motion.OUT, "last_hit"]
    turns += [
        Motion.OPERATION,
        Motion.OPERATION,
        "back_by_operation",
        Motion.OPERATION_OUT,
        "back_by_operation",
        Motion.RUN,
    ]
    journey = InEncoder(model, straight, turns)
    journey.break_at((f"{LAYERS[kind]}.1", "before"))
    assert same(returned(journey.generate(ask)), returned(straight.result))
    assert not turns
    assert journey.steps == {0}
    assert journey.places.pop() == Place(2, END)
    assert all(place.path.startswith(ENCODER[kind]) for place in journey.places)
