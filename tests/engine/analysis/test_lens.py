"""The logit lens, against final norm and head applied by hand."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from dap_server.engine.analysis.lens import Reading, read
from dap_server.engine.analysis.lens_rows import lens_scope
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from tests.engine.walk import Walk

PROMPTS = ["The capital of France is", "one two"]


def looking(loaded: Loaded, step: int, look: Callable[[Walk, Stop], None]) -> list[list[int]]:
    """Runs, looks from the choice of one token, and returns the tokens."""

    def decide(stop: Stop) -> Motion:
        if stop.place.step == step:
            look(walk, stop)
        return Motion.RUN

    walk = Walk(loaded, decide, ["sample"])
    inputs = loaded.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    ids: list[list[int]] = walk.generate(**inputs, max_new_tokens=4, disable_compile=True).tolist()
    return ids


@pytest.mark.parametrize("step", [0, 2], ids=["prefill", "decode step"])
def test_a_reading_is_the_final_norm_and_the_head_on_the_residual_stream(atlas: Loaded, step: int) -> None:
    inputs = atlas.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    options = {"max_new_tokens": 4, "return_dict_in_generate": True, "output_hidden_states": True}
    plain = atlas.model.generate(**inputs, **options, output_logits=True)
    hidden = plain.hidden_states[step]  # L + 1 of (B, T, D); the last one is behind the norm
    readings: list[Reading] = []

    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.tape is not None
        readings.extend(read(stop.generation.tape, step, walk.anatomy))
        assert stop.generation.selection is not None
        assert torch.equal(readings[-1].logits, stop.generation.selection.logits)

    assert looking(atlas, step, look) == plain.sequences.tolist()
    assert [r.path for r in readings] == ["", *(f"model.layers.{i}" for i in range(6))]
    assert torch.equal(readings[-1].logits, plain.logits[step])
    for reading, state in zip(readings[:-1], hidden[:-1], strict=True):
        with torch.no_grad():
            by_hand = atlas.model.lm_head(atlas.model.model.norm(state[:, -1]))
        assert torch.allclose(reading.logits, by_hand, atol=1e-4, rtol=1e-5)
        assert torch.allclose(reading.norm, state[:, -1].double().norm(dim=-1), rtol=1e-9)
    steps = [b[:, -1].double() - a[:, -1].double() for a, b in pairwise(hidden[:-1])]
    for reading, step_made in zip(readings[1:-1], steps, strict=True):
        assert torch.allclose(reading.update, step_made.norm(dim=-1), rtol=1e-9)


def test_the_answer_rises_through_the_layers_of_the_example_model(atlas: Loaded) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        frames = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
        scope = lens_scope(frames[0], walk.anatomy, walk.vocabulary)
        assert scope is not None
        rows = scope.children.named_rows()
        ranks = [int(row.value.partition(" rank ")[2].partition(",")[0]) for row in rows]
        assert "' Paris' rank" in rows[0].value
        assert ranks[0] > 100
        assert ranks[-1] == 1
        assert ranks == sorted(ranks, reverse=True)

    looking(atlas, 0, look)


def test_the_layers_are_themselves_again_afterwards(atlas: Loaded) -> None:
    kind = type(atlas.model.model.layers[0])
    before = kind.forward

    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.tape is not None
        read(stop.generation.tape, 0, walk.anatomy)
        assert kind.forward is before

    looking(atlas, 0, look)
