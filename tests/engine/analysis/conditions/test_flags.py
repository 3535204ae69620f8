"""What is left to the device in a run is what is judged at once there, and nothing of it is read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch import Tensor

from dap_server.conditions.deferred.deferring import why_at_once
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import Condition, parse_condition
from dap_server.engine.analysis.conditions.judge import ConditionJudge
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Kind, Wanted
from dap_server.engine.execution.judging import Candidate
from tests.engine.analysis.conditions.reads import Reads
from tests.engine.walk import GREEDY, PROMPTS, Walk
from tests.models.tiny import tiny_model, tiny_tokenizer


class BothWays(ConditionJudge):
    """Judges at once, and holds that against the flag."""

    def __init__(self, walk: Walk) -> None:
        super().__init__(walk.anatomy, walk.vocabulary)
        self.answers: list[bool] = []
        self.unfinished: list[int] = []
        self.kinds: set[type] = set()

    def sequences(self, condition: Condition | None, candidate: Candidate, each: bool = False) -> Iterator[int]:
        assert condition is not None
        with Reads() as reads:
            flag = self.flag(condition, candidate)
        assert reads.seen == set()
        candidate.known.clear()
        found = [*super().sequences(condition, candidate, each)]
        assert bool(flag) == bool(found)
        self.answers.append(bool(flag))
        self.kinds.add(type(flag))
        unfinished = candidate.generation.unfinished
        self.unfinished.append(2 if unfinished is None else int(unfinished.sum()))
        yield from found


def judged(
    place: str, condition: str, name: str = "llama", prompts: Tensor = PROMPTS, kind: Kind = "function"
) -> BothWays:
    walk = Walk(Loaded(tiny_model(name), tiny_tokenizer()), breakpoints=[Wanted(0, place, kind, condition=condition)])
    (placed,) = walk.stepper.breakpoints.all
    assert placed.is_verified, placed.problem
    assert why_at_once(parse_condition(condition)) is None
    walk.stepper.judging.judge = judge = BothWays(walk)
    walk.generate(input_ids=prompts, **GREEDY)
    return judge


@pytest.mark.parametrize(
    ("place", "condition"),
    [
        ("after:*.layers.*", "norm > 11.3"),
        ("before:*.layers.*", "layer == 1 and not norm < 8"),
        ("after:*.layers.*", "sequence == 1 and norm > 11.3"),
        ("after:*.layers.*", "residual[sequence, -1].double().norm() > 11.3 and step > 0"),
        ("*.layers.*", "hidden[:, -1].abs().max(-1).values.std() > 1"),
        ("*.mlp", "(hidden.abs() > 2).sum() > 3"),
        ("after:*.layers.0.mlp/aten::silu", "norm > 5 and output.max() > 4"),
        ("after:logits", "entropy < 3.9"),
        ("after:logits", "logits.argmax() == probs.argmax() and logits.max() > 2.85"),
        ("sample", "3 < entropy < 4.1 and step >= 1"),
        ("sample", "prob < 0.05 or token % 2 == 0"),
        ("sample", "probs.max() > 0.05 and token > 40"),
        ("sample", "token == 2"),
        ("after:sample", "sequence == 0"),
        ("*.self_attn", "attention(1)[0] > 0.23"),
        ("*.layers.*", "any(attention(head)[-1] > 0.35 for head in range(2)) and norm > 3"),
    ],
)
def test_the_flag_is_what_is_judged_at_once(place: str, condition: str) -> None:
    judge = judged(place, condition)
    assert {True, False} == {*judge.answers}
    assert {1, 2} <= {*judge.unfinished}


@pytest.mark.parametrize("name", ["gpt2", "bloom", "gpt_oss", "opt", "t5"])
def test_attention_is_not_read_either(name: str) -> None:
    path = {"gpt2": "*.attn", "bloom": "*.self_attention", "t5": "decoder.block.*.layer.0.SelfAttention"}.get(
        name, "*.self_attn"
    )
    assert judged(path, "attention(1)[-1] > 0.2 and not attention(0).max() < 0.1", name).kinds == {Tensor}


@pytest.mark.parametrize(
    ("filter", "condition"),
    [
        ("nearOverflow", "peak > 0.5 * limit"),
        ("nearOverflow", "peak > 2.5 and layer is not None"),
        ("residual", "growth > 50 or growth < 1.02"),
        ("deadActivations", "dead > 0.98 or saturated > 0.98 or norm > 5"),
        ("attention", "collapsed == 1 or uniform >= 0.5"),
        ("repetition", "repeats >= 4 and period * repeats >= 12"),
        ("repetition", "repeats >= 1 and period <= 1"),
        ("lowConfidence", "prob < 0.1 and uncertainty > 0.6"),
        ("padding", "attended_padding > 0 or masked_tokens > 0 or right_padding > 0 or tokens == 6"),
    ],
)
def test_what_filters_measure_is_not_read(filter: str, condition: str) -> None:
    judge = judged(filter, condition, kind="exception")
    assert Tensor in judge.kinds


def test_what_the_host_alone_knows_is_known_at_once() -> None:
    assert judged("*.layers.*", "layer == 1 and step > 0").kinds == {bool}
    assert judged("sample", "sequence == 0 and step == 0", prompts=PROMPTS[:1]).kinds == {bool}


def test_a_condition_that_raises_is_an_error_of_its_text() -> None:
    errors: list[ConditionError] = []

    class Raising(ConditionJudge):
        def sequences(self, condition: Condition | None, candidate: Candidate, each: bool = False) -> Iterator[int]:
            assert condition is not None
            with pytest.raises(ConditionError) as caught:
                self.flag(condition, candidate)
            errors.append(caught.value)
            yield from ()

    walk = Walk(
        Loaded(tiny_model("llama"), tiny_tokenizer()),
        breakpoints=[Wanted(0, "*.layers.1", condition="norm < 0 and output[9].max() > 1")],
    )
    walk.stepper.judging.judge = Raising(walk.anatomy, walk.vocabulary)
    walk.generate(input_ids=PROMPTS[:1], **GREEDY)
    assert {(error.column, error.end_column) for error in errors} == {(14, 23)}
    assert "IndexError" in errors[0].message
