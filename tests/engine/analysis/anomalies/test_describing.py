"""What is told of an anomaly: one line, and its numbers are those of an independent calculation."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.conditions.expressions import Condition
from dap_server.engine.analysis.anomalies.describing import describe
from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.anomalies.weights import odd_weight
from dap_server.engine.analysis.conditions.judge import ConditionJudge
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.analysis.anomalies.recording import LISTENS
from tests.engine.walk import Walk
from tests.models.tiny import tiny_model

FRANCE = "The capital of France is"
NUMBER = r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?"
"""Not one that is part of a path."""


class Describer(ConditionJudge):
    """Describes a place whatever is there, once."""

    filter = ""
    said = ""

    def sequences(self, condition: Condition | None, candidate: Candidate, each: bool = False) -> Iterator[int]:
        passing = Passing(candidate, 0, self._sources.anatomy)
        self.said = self.said or describe(self.filter, passing, self._sources.vocabulary)
        return iter(())


def described(loaded: Loaded, filter: str, place: str, condition: str = "True", **options: Any) -> str:
    walk = Walk(loaded)
    judge = walk.stepper.judging.judge = Describer(walk.anatomy, walk.vocabulary)
    judge.filter = filter
    walk.place(Wanted(0, place, condition=condition))
    ids = loaded.tokenizer(FRANCE, return_tensors="pt")
    walk.generate(**ids, **{"max_new_tokens": 1, "disable_compile": True, **options})
    return judge.said


def numbers(text: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(NUMBER, text)]


@pytest.fixture
def broken(atlas: Loaded) -> Loaded:
    """A copy to be broken."""
    return Loaded(copy.deepcopy(atlas.model), atlas.tokenizer)


def seen(loaded: Loaded, path: str) -> tuple[Tensor, Tensor]:
    """What a module is given and returns in the prefill of plain transformers."""
    found: list[tuple[Tensor, Tensor]] = []

    def hear(_module: Any, args: Any, kwargs: Any, out: Any) -> None:
        found.append(
            (kwargs.get("hidden_states", args[0] if args else None), out[0] if isinstance(out, tuple) else out)
        )

    handle = loaded.model.get_submodule(path).register_forward_hook(hear, with_kwargs=True)
    loaded.model.generate(**loaded.tokenizer(FRANCE, return_tensors="pt"), max_new_tokens=1)
    handle.remove()
    return found[0]


def rms(parameter: Tensor) -> float:
    return math.sqrt(sum(x * x for x in parameter.double().flatten().tolist()) / parameter.numel())


def test_of_the_residual_stream_it_says_sizes_norms_and_the_weight(broken: Loaded) -> None:
    layers = broken.model.model.layers
    with torch.no_grad():
        layers[3].self_attn.o_proj.weight.mul_(500)
    text = described(broken, "residual", "after:model.layers.3")
    before, after = (x[0, -1].double() for x in seen(broken, "model.layers.3"))
    small, large = (sorted(x.abs().tolist())[(x.numel() - 1) // 2] for x in (before, after))
    others = sorted(rms(layer.self_attn.o_proj.weight) for layer in layers if layer is not layers[3])[2]
    expected = [large / small, small, large, float(before.norm()), float(after.norm())]
    assert text.startswith("model.layers.3 makes the residual stream ")
    assert "model.layers.3.self_attn.o_proj.weight is " in text
    found = numbers(text)
    assert found[:5] == pytest.approx(expected, rel=6e-3)
    assert found[-1] == pytest.approx(rms(layers[3].self_attn.o_proj.weight) / others, rel=2e-2)


def test_of_values_near_overflow_it_says_where_and_how_much(broken: Loaded) -> None:
    broken.model.to(torch.float16)
    text = described(broken, "nearOverflow", "after:model.layers.5.mlp.down_proj")
    _, made = seen(broken, "model.layers.5.mlp.down_proj")
    peak = made.abs().max()
    index = (made.abs() == peak).nonzero()[0].tolist()
    assert f"returns {float(peak):.4g} at {index}, {float(peak) / 65504:.0%} of the largest float16 (6.55e+04)" in text
    assert text.endswith("bfloat16 or float32 reaches further")


def test_of_dead_units_it_says_how_many_and_what_came_in(broken: Loaded) -> None:
    with torch.no_grad():
        broken.model.model.layers[2].mlp.gate_proj.weight.zero_()
    text = described(broken, "deadActivations", "after:model.layers.2.mlp.act_fn")
    assert text == (
        "model.layers.2.mlp.act_fn: 512 of 512 units let nothing through at any position, for inputs from 0 to 0: "
        "look at the weights and the bias in front of it: model.layers.2.mlp.gate_proj.weight is zero"
    )


def test_of_heads_it_says_how_many_and_where_they_look(broken: Loaded, atlas: Loaded) -> None:
    alike = copy.deepcopy(broken.model)
    with torch.no_grad():
        alike.model.layers[2].self_attn.q_proj.weight.zero_()
        broken.model.model.layers[2].self_attn.q_proj.weight.mul_(1_000)
    text = described(Loaded(alike, atlas.tokenizer), "attention", "after:model.layers.2", LISTENS)
    assert text.startswith("model.layers.2.self_attn: 6 of 6 heads look at all 6 positions alike: ")
    assert text.endswith("model.layers.2.self_attn.q_proj.weight is zero")
    text = described(broken, "attention", "after:model.layers.2", LISTENS)
    broken.model.set_attn_implementation("eager")
    ids = broken.tokenizer(FRANCE, return_tensors="pt")
    out = broken.model(**ids, output_attentions=True)
    row = out.attentions[2][0, :, -1]
    alone = [head for head in range(6) if row[head].max() >= 0.999 and int(row[head].argmax()) != 0]
    key = int(row[alone[0]].argmax())
    token = broken.tokenizer.decode([int(ids["input_ids"][0, key])])
    assert f"{len(alone)} of 6 heads look at one position only, head {alone[0]} at position {key}, {token!r}" in text


def test_of_a_cycle_it_says_the_text(broken: Loaded) -> None:
    ids = broken.tokenizer(FRANCE, return_tensors="pt")
    texts: list[str] = []

    def decide(stop: Stop) -> Motion:
        assert stop.anomaly is not None
        texts.append(describe("repetition", Passing(stop.anomaly.candidate, 0, walk.anatomy), walk.vocabulary))
        return Motion.RUN

    walk = Walk(broken, decide, [Wanted(0, "repetition", "exception")])
    said = walk.generate(**ids, repetition_penalty=0.01, max_new_tokens=26, disable_compile=True)
    cycle = broken.tokenizer.decode(said[0, -3:])
    hint = "look at the sampling options, and at why the text does not end"
    assert texts == [f"the last 24 tokens are 8 times the same 3, {cycle!r}: {hint}"]


def test_of_low_confidence_it_says_whose_it_is(broken: Loaded) -> None:
    options: dict[str, Any] = {"do_sample": True, "temperature": 100.0, "top_k": 0}
    text = described(broken, "lowConfidence", "after:sample", **options)
    logits = broken.model(**broken.tokenizer(FRANCE, return_tensors="pt")).logits[0, -1].double()
    entropies = []
    for scores in (logits, logits / 100):
        probs = torch.softmax(scores, dim=-1).tolist()
        entropies.append(-sum(p * math.log(p) for p in probs if p > 0))
    found = numbers(text)
    assert found[:3] == pytest.approx([*entropies, math.log(len(probs))], rel=6e-3)
    assert text.endswith("look at the temperature and the logits processors")


def test_a_weight_is_out_of_line_only_by_far(atlas: Loaded, broken: Loaded) -> None:
    anatomy = Anatomy(atlas.model)
    assert [odd_weight(path, anatomy) for path in anatomy.layer_paths] == [None] * 6
    anatomy = Anatomy(broken.model)
    layer = broken.model.model.layers[1]
    with torch.no_grad():
        layer.input_layernorm.weight.mul_(20)
    found = odd_weight("model.layers.1", anatomy)
    assert found is not None
    assert found.path == "model.layers.1.input_layernorm.weight"
    with torch.no_grad():
        layer.mlp.up_proj.weight[0, 0] = math.nan
    found = odd_weight("model.layers.1", anatomy)
    assert found is not None
    assert found.path == "model.layers.1.mlp.up_proj.weight"
    assert math.isnan(found.times)


def test_a_weight_that_no_layer_has_learnt_is_not_out_of_line() -> None:
    anatomy = Anatomy(tiny_model("gpt2"))  # all of its biases are zero
    assert odd_weight("transformer.h.0", anatomy) is None
    with torch.no_grad():
        anatomy.modules["transformer.h.0.mlp.c_fc"].get_parameter("bias").fill_(math.inf)
    assert odd_weight("transformer.h.0", anatomy) == ("transformer.h.0.mlp.c_fc.bias", math.inf)
