"""Every filter can be on in every architecture: what one of them does not have is no anomaly, and nothing raises."""

from __future__ import annotations

import pytest

from dap_server.conditions.filters import FILTERS
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.walk import Walk
from tests.models.cases import cases
from tests.models.tiny import Task, tiny_inputs, tiny_model

SAMPLE: dict[Task, list[str]] = {
    "causal": ["llama", "mamba", "gpt_oss", "qwen3_next", "bloom"],
    "seq2seq": ["t5", "bart"],
}
"""What runs every time; the rest is marked `sweep`."""

UNTRAINED = {"attention", "lowConfidence", "repetition"}
"""What a model may come to that has learnt nothing: it looks everywhere alike, and any token would do."""

ZEROS = {"gemma3n_text": "altup", "xlstm": "the gates of its layers"}
"""Architectures that begin with zeros in what their activation functions are given, and in what."""


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("task", "name"), cases(SAMPLE, pytest.mark.sweep))
def test_no_filter_is_at_a_loss(task: Task, name: str) -> None:
    model = tiny_model(name, task)
    inputs = tiny_inputs(model, task, batch=2)
    inputs.pop("decoder_input_ids", None)
    found: set[str] = set()

    def decide(stop: Stop) -> Motion:
        assert stop.failure is None, stop.failure
        filters = [walk.stepper.breakpoints.by_id[id].filter for id in stop.hits]
        found.update(one.id for one in filters if one is not None)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide)
    walk.place(*[Wanted(0, id, "exception") for id in FILTERS])
    walk.generate(**inputs, max_new_tokens=3, disable_compile=True, do_sample=False)
    assert found - UNTRAINED == ({"deadActivations"} if name in ZEROS else set())
