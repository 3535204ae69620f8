"""Runs of models that do not generate: what they answer, and what they refuse."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tasks import Task
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.answers import answers
from dap_server.engine.execution.forward_run import ForwardRun
from dap_server.engine.execution.prompting import ConfigurationError
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.modelmap.places import END, Place
from dap_server.protocol.launch import LaunchArguments
from tests.e2e.tiny_checkpoints import tokenizer
from tests.models.tiny import tiny_model


def said_of(logits: list[float], **config: Any) -> str:
    """The line that a classifier's logits (labels,) become."""
    settings = SimpleNamespace(problem_type=None, id2label={0: "no", 1: "yes"}).__dict__ | config
    [[answer]] = answers(torch.tensor([logits]), torch.zeros(1, 3), SimpleNamespace(**settings), Vocabulary(None))
    return str(answer)


def test_a_classifier_answers_by_the_kind_of_its_problem() -> None:
    assert said_of([0.0, 2.0]) == "label: yes 88.08%, no 11.92%"
    assert said_of([0.0, 2.0], problem_type="multi_label_classification") == "label: yes 88.08%, no 50.00%"
    assert said_of([0.25]) == "value: 0.25"
    assert said_of([0.25, -1.5], problem_type="regression") == "value: 0.25, -1.5"
    assert said_of([0.0, 2.0], id2label=None) == "label: 1 88.08%, 0 11.92%"


def test_only_masks_are_answered_the_rest_of_the_text_is_not() -> None:
    vocabulary = Vocabulary(tokenizer())
    ids = torch.tensor([[1, 5, 2], [1, 3, 2]])
    logits = torch.zeros(2, 3, 96)
    logits[1, 1, 5] = 9.0
    nothing, [answer] = answers(logits, ids, SimpleNamespace(), vocabulary)
    assert nothing == []
    assert (answer.name, answer.position, answer.choices[0].text) == ("mask 1", 1, "'The'")


class Written(list[str]):
    """Where a run writes."""

    @property
    def text(self) -> str:
        return "".join(self)


def run_of(prompts: list[str], written: Written, decide: Any, **launch: Any) -> ForwardRun:
    model = tiny_model("bert", "masked")
    stepper = Stepper(Anatomy(model), lambda stop: decide(stepper, stop))
    arguments = LaunchArguments(model="bert", prompts=prompts, **launch)
    return ForwardRun(Loaded(model, tokenizer(), Task.MASKED), arguments, stepper, written.append)


def test_a_forward_run_stops_at_its_entry_and_at_its_end() -> None:
    places: list[Place] = []

    def decide(stepper: Stepper, stop: Stop) -> None:
        places.append(stop.place)
        stepper.resume(Motion.RUN)

    written = Written()
    logits = run_of(["The [MASK] is", "one two"], written, decide, stop_on_entry=True).run()
    assert logits.shape == (2, 5, 96)
    assert places == [Place(0, ""), Place(0, END)]
    first, second, mask, filled, nothing = written.text.splitlines()
    assert (first, second) == ("[sequence 1] The [MASK] is", "[sequence 2] one two")
    assert mask.startswith("[sequence 1] mask 1 at position 2: ")
    assert filled.startswith("[sequence 1] The ")
    assert "[MASK]" not in filled
    assert nothing == "[sequence 2] nothing to fill in: the prompt has no [MASK]"


def test_options_of_generation_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="BertForMaskedLM does not generate, it runs once: leave out top_k"):
        run_of(["one"], Written(), lambda *_: None, generation={"top_k": 3})
