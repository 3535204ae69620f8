"""Long random walks, forth and back and looking around, never come upon anything that a straight run does not make."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.modelmap.places import END, SAMPLE, STEP, Phase, Place
from tests.engine.execution.journey import Journey, Move
from tests.engine.execution.straight import Ask, Straight, asking, returned, run_straight, same
from tests.models.tiny import tiny_model

MODELS = ["llama", "gemma2", "falcon_h1", "bart", "llama, dynamic RoPE"]
MOVES = [
    *[Motion.NEXT, Motion.IN, Motion.OUT, Motion.RUN, Motion.TOKEN, Motion.OPERATION, Motion.OPERATION_OUT],
    *[
        "back_by_operation",
        "back",
        "back_in",
        "back_out",
        "last_hit",
        "run to a step",
        "run to a place",
        "look",
        "break elsewhere",
    ],
]
STEPS = 8

Turn = tuple[Motion | str, int]

walks = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 10**6)), min_size=90, max_size=130)
walking = settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.large_base_example],
)


class Wanderer:
    """Takes one turn after the other, whatever stop it comes to."""

    def __init__(self, turns: list[Turn]) -> None:
        self._turns = list(reversed(turns))

    def __call__(self, journey: Journey, stop: Stop) -> Move:
        while self._turns:
            kind, number = self._turns.pop()
            draw = random.Random(number)
            if kind == "look":
                self._look(journey, stop, draw)
            elif kind == "break elsewhere":
                self._break(journey, draw)
            elif kind == "run to a step":
                return Place(draw.randrange(journey.straight.steps), STEP)
            elif kind == "run to a place":
                return draw.choice(list(journey.straight.seen))
            elif (isinstance(kind, Motion) and stop.place.path != END) or isinstance(kind, str):
                return kind
        journey.break_at()
        return Motion.RUN

    def _look(self, journey: Journey, stop: Stop, draw: random.Random) -> None:
        before = journey.everything(stop)
        step = draw.randint(0, stop.place.step)
        journey.look(stop, *draw.sample(journey.straight.modules_of(step), 3))
        journey.choice(stop, step)
        assert same(journey.everything(stop), before)

    def _break(self, journey: Journey, draw: random.Random) -> None:
        paths = [place.path for place in journey.straight.seen] + [STEP, SAMPLE]
        phases: list[Phase] = ["before", "after"]
        journey.break_at(*[(draw.choice(paths), draw.choice(phases)) for _ in range(draw.randint(0, 3))])


@cache
def prepared(name: str) -> tuple[Any, Ask, Straight]:
    model = tiny_model(name)
    ask = asking({"do_sample": True, "return_dict_in_generate": True, "output_logits": True}, steps=STEPS)
    run_straight(model, ask)
    return model, ask, run_straight(model, ask)


@pytest.mark.parametrize("name", MODELS)
@walking
@given(turns=walks)
def test_a_random_walk_through_a_tiny_model_agrees_with_a_straight_run(name: str, turns: list[Turn]) -> None:
    _walk(*prepared(name), turns)


@walking
@given(turns=walks)
def test_a_random_walk_through_the_example_model_agrees_with_a_straight_run(atlas: Loaded, turns: list[Turn]) -> None:
    inputs = dict(atlas.tokenizer(["The capital of France is", "one two"], return_tensors="pt", padding=True))
    options = {"do_sample": True, "temperature": 1.5, "max_new_tokens": STEPS, "disable_compile": True}
    ask: Ask = lambda: {**inputs, **options}  # noqa: E731
    _walk(atlas.model, ask, run_straight(atlas.model, ask), turns)


def _walk(model: Any, ask: Ask, straight: Straight, turns: list[Turn]) -> None:
    journey = Journey(model, straight, Wanderer(turns))
    journey.stepper.pause()
    actual = journey.generate(ask)
    assert same(returned(actual), returned(straight.result))
    assert same(journey.heard, straight.tokens)
