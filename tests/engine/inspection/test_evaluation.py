"""The debug console: what it computes, what it refuses on hover, and that it leaves the run alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.inspection.evaluation import NO_VALUE, Evaluator
from dap_server.engine.inspection.forward_locals import ForwardLocals
from dap_server.engine.inspection.hovering import EvaluationError
from dap_server.engine.inspection.past import Past


@pytest.fixture
def evaluator(atlas: Loaded) -> Evaluator:
    anatomy = Anatomy(atlas.model)
    return Evaluator(anatomy, atlas.tokenizer, ForwardLocals(anatomy, Past()))


def test_expressions_are_python(evaluator: Evaluator, atlas: Loaded) -> None:
    assert evaluator.evaluate("1 + 1", None) == 2
    assert evaluator.evaluate("[p.shape[0] for p in model.lm_head.parameters()]", None) == [len(atlas.tokenizer)]


def test_statements_keep_their_names_for_later(evaluator: Evaluator) -> None:
    assert evaluator.evaluate("x = 3\ny = x + 1", None) is NO_VALUE
    assert evaluator.evaluate("x * y", None) == 12


def test_a_module_path_is_a_name(evaluator: Evaluator, atlas: Loaded) -> None:
    mlp = atlas.model.model.layers[3].mlp
    assert evaluator.evaluate("model.layers.3.mlp", None) is mlp
    assert evaluator.hover("model.layers.3.mlp", None) is mlp


@pytest.mark.parametrize(
    ("expression", "error"),
    [
        ("1 +", "invalid syntax"),
        ("modle", "did you mean 'model'"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "missing"),
        ("if True", "expected ':'"),
    ],
)
def test_errors_say_what_is_wrong(evaluator: Evaluator, expression: str, error: str) -> None:
    with pytest.raises(EvaluationError, match=error):
        evaluator.evaluate(expression, None)


@pytest.mark.parametrize("expression", ["model.eval()", "print(1)", "model + model", "[x for x in (1,)]", "lambda: 1"])
def test_hover_calls_nothing(evaluator: Evaluator, expression: str) -> None:
    with pytest.raises(EvaluationError):
        evaluator.hover(expression, None)


def test_hover_does_not_run_properties(evaluator: Evaluator) -> None:
    class Trap:
        @property
        def spring(self) -> int:
            raise AssertionError("it ran")

    evaluator.evaluate("trap = 0", None)
    evaluator._console["trap"] = Trap()
    with pytest.raises(EvaluationError, match="computed by code"):
        evaluator.hover("trap.spring", None)


@pytest.mark.parametrize("expression", ["model.lm_head.weight.shape", "model.lm_head.weight[0, -1]", "model.config"])
def test_hover_sees_names_attributes_and_indexing(evaluator: Evaluator, expression: str) -> None:
    assert evaluator.hover(expression, None) is not None


def test_evaluation_leaves_every_random_state_as_it_was(evaluator: Evaluator) -> None:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # type: ignore[index]
    evaluator.evaluate("__import__('random').random() + float(torch.rand(1))", None)
    evaluator.evaluate("import numpy; numpy.random.rand()", None)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # type: ignore[index]


def test_completion_continues_the_last_dotted_name(evaluator: Evaluator) -> None:
    assert "model" in evaluator.completions("mod", None)
    assert evaluator.completions("x = model.lm_h", None) == ["lm_head"]
    assert "weight" in evaluator.completions("model.model.layers[3].mlp.up_proj.wei", None)
    assert evaluator.completions("nothing.here", None) == []
