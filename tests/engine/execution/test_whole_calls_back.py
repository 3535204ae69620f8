"""Beam search and other loops than ours: back, reverse and to a step, by running the whole call again."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.prompting import PromptRun
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.modelmap.places import END, Place
from dap_server.protocol.launch import LaunchArguments
from tests.engine.execution.journey import Guide, Journey, Move
from tests.engine.execution.straight import Straight, returned, run_straight_by_calls, same, state_of

PROMPT = "one two three four one two"

OPTIONS: dict[str, dict[str, Any]] = {
    "beam search": {"num_beams": 3},
    "beam sampling": {"num_beams": 2, "do_sample": True},
    "prompt lookup": {"prompt_lookup_num_tokens": 3},
    "prompt lookup, sampled": {"prompt_lookup_num_tokens": 3, "do_sample": True},
    "early exit": {"assistant_early_exit": 3},
}


class WholeJourney(Journey):
    """A launched prompt under the debugger, with the text that it writes."""

    def __init__(self, loaded: Loaded, launch: LaunchArguments, straight: Straight, guide: Guide) -> None:
        super().__init__(loaded.model, straight, guide)
        self.written: list[str] = []
        self._run = PromptRun(loaded, launch, self.stepper, self.written.append)

    def launched(self) -> Any:
        try:
            return self._run.run()
        finally:
            self.stepper.release()
            if self._error is not None:
                raise self._error

    def check(self, stop: Stop) -> None:
        if stop.place.path != END:
            super().check(stop)

    def everything(self, stop: Stop) -> Any:
        modules = list(self.model.modules())
        return [
            torch.get_rng_state(),
            [state_of(dict(module._buffers)) for module in modules],
            [state_of(vars(module.config)) for module in modules if hasattr(module, "config")],
            [[list(module._forward_hooks), list(module._forward_pre_hooks)] for module in modules],
            [stop.generation.step, stop.generation.is_over, len(self.written)],
        ]


@pytest.fixture(params=list(OPTIONS.values()), ids=list(OPTIONS))
def launch(request: pytest.FixtureRequest, example_model: Any) -> LaunchArguments:
    options = {"max_new_tokens": 7, **request.param}
    return LaunchArguments(model=str(example_model), prompt=PROMPT, generation=options, seed=5)


@pytest.fixture
def straight(atlas: Loaded, launch: LaunchArguments) -> Straight:
    """The same call and text without stops."""
    nobody = Journey(atlas.model, Straight(), lambda _journey, _stop: Motion.RUN)
    run = PromptRun(atlas, launch, nobody.stepper, lambda _text: None)
    return run_straight_by_calls(atlas.model, lambda: _seeded(launch, run._generate))


def _seeded(launch: LaunchArguments, call: Any) -> Any:
    torch.manual_seed(launch.seed or 0)
    return call()


def plain_text(loaded: Loaded, straight: Straight) -> str:
    return str(loaded.tokenizer.decode(straight.result[0], skip_special_tokens=True)) + "\n"


def test_every_place_again_after_going_back_from_the_end(
    atlas: Loaded, launch: LaunchArguments, straight: Straight
) -> None:
    last = max(place.step for place in straight.seen)
    turns: list[Move] = ["back", Place(last // 2, ""), "back_in", "back", "last_hit", Place(last, ""), "back_out"]
    draw = random.Random(1)

    def guide(journey: Journey, stop: Stop) -> Move:
        if stop.place.path != END and len(turns) in (7, 0):
            return Motion.RUN
        if turns:
            assert not stop.generation.is_own_loop
            before = journey.everything(stop)
            step = draw.randint(0, stop.place.step)
            modules = draw.sample(journey.straight.modules_of(step), 4)
            journey.look(stop, *modules)
            assert same(journey.everything(stop), before)
            journey.break_at(("model.layers.2", "after")) if len(turns) == 4 else journey.break_everywhere()
            return turns.pop(0)
        return Motion.RUN

    journey = WholeJourney(atlas, launch, straight, guide)
    journey.break_everywhere()
    assert same(returned(journey.launched()), straight.result)
    assert not turns
    assert "".join(journey.written) == plain_text(atlas, straight)
    assert journey.places.count(Place(journey.places[-1].step, END)) == 2
    ours = [place for place in journey.places if place.path != END]
    assert ours[: len(straight.seen)] == list(straight.seen)


def test_walking_at_random_agrees_with_a_straight_run(
    atlas: Loaded, launch: LaunchArguments, straight: Straight
) -> None:
    draw, places = random.Random(3), list(straight.seen)
    left = [40]

    def guide(_journey: Journey, stop: Stop) -> Move:
        left[0] -= 1
        if left[0] < 0:
            return Motion.RUN
        forth: list[Move] = [Motion.NEXT, Motion.IN, Motion.OUT, Motion.TOKEN]
        back: list[Move] = ["back", "back_in", "back_out", draw.choice(places)]
        return draw.choice(back if stop.place.path == END else forth + back)

    journey = WholeJourney(atlas, launch, straight, guide)
    journey.stepper.pause()
    assert same(returned(journey.launched()), straight.result)
    assert "".join(journey.written) == plain_text(atlas, straight)
    assert len(journey.places) > 30
