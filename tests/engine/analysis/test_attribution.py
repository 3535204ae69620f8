"""A logit is the sum of what the parts of the model added to it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dap_server.engine.analysis.attribution.direct import Attribution, CannotAttribute, attribution
from dap_server.engine.analysis.attribution.parts import Part
from dap_server.engine.analysis.attribution.rows import attribution_scope
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from tests.engine.analysis.padded import PROMPT, looking
from tests.engine.walk import Walk
from tests.models.tiny import tiny_model

ARCHITECTURES = [
    "llama", "gpt2", "gemma2", "granite", "cohere", "opt", "t5", "qwen2_moe", "mamba", "gpt_neox", "falcon", "bloom",
    "bart", "olmo2", "jamba", "phi3", "mpt", "marian",
]  # fmt: skip


def noisy(name: str) -> Any:
    """A tiny model whose biases and norms are random too: fresh ones hide behind zeros and ones."""
    model = tiny_model(name)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def of(walk: Walk, stop: Stop, sequence: int, token: int | None = None) -> Attribution:
    tape = stop.generation.tape
    assert tape is not None
    return attribution(tape, stop.place.step, walk.anatomy, sequence, token)


def everything(parts: tuple[Part, ...]) -> list[Part]:
    return [part for outer in parts for part in (outer, *everything(outer.children))]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_parts_sum_to_the_logit(name: str) -> None:
    seen: list[Attribution] = []

    def look(walk: Walk, stop: Stop) -> None:
        selection = stop.generation.selection
        assert selection is not None
        for sequence in (0, 1):
            for token in (None, 7):
                found = of(walk, stop, sequence, token)
                seen.append(found)
                assert found.token == (int(selection.logits[sequence].argmax()) if token is None else token)
                assert found.given == float(selection.logits[sequence, found.token])
                assert abs(found.remainder) < 1e-4
                assert abs(found.total + found.remainder - found.logit) < 1e-9
                for part in everything(found.parts):
                    assert abs(part.rest) < 1e-4

    looking(noisy(name), look, 2)
    assert len(seen) == 8
    layers = [part for part in seen[0].parts if part.kind == "layer"]
    assert len(layers) == 2
    assert all(part.children or part.note for part in layers)


@pytest.mark.parametrize(
    ("name", "modules", "heads"),
    [
        ("llama", ["self_attn", "mlp"], 4),
        ("gpt2", ["attn", "mlp"], 4),
        ("gemma2", ["self_attn", "mlp"], 4),
        ("granite", ["self_attn", "mlp"], 4),
        ("cohere", ["self_attn", "mlp"], 4),
        ("opt", ["self_attn", "fc2"], 4),
        ("t5", ["0", "1", "2"], 4),
        ("mamba", ["mixer"], 0),
        ("marian", [], 0),
    ],
)
def test_a_layer_opens_to_its_modules_and_attention_to_its_heads(name: str, modules: list[str], heads: int) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        for layer in [part for part in of(walk, stop, 1).parts if part.kind == "layer"]:
            assert [part.name.rpartition(".")[2] for part in layer.children] == modules
            for part in layer.children:
                assert len([p for p in part.children if p.kind == "head"]) == (heads if part.kind == "attention" else 0)
            assert layer.children or "stays whole" in layer.note

    looking(noisy(name), look, 1)


def by_hand(model: Any, stack: Any, projection: Callable[[Any], Any], token: int) -> tuple[list[Tensor], Tensor]:
    """Of the first step's second sequence, in float64: residual stream (L + 1, D), and heads' output (L, H, D)."""
    seen: list[Tensor] = []
    inputs: list[Tensor] = []
    final: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _m, args: seen.append(args[0][1, -1])) for layer in stack]
    handles += [
        projection(layer).register_forward_pre_hook(lambda _m, a: inputs.append(a[0][1, -1])) for layer in stack
    ]
    handles.append(
        stack[-1].register_forward_hook(
            lambda _m, _a, out: final.append((out[0] if isinstance(out, tuple) else out)[1, -1])
        )
    )
    ids = torch.tensor(PROMPT)
    mask = (ids != 0).long()
    model(ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp_min(0))
    for handle in handles:
        handle.remove()
    return [*seen, *final], torch.stack(inputs)


def checked(found: Attribution, streams: list[Tensor], heads: Tensor, read: Tensor) -> None:
    """`read` (D,): the direction that the logit reads; `heads` (L, H, D): what each adds."""
    layers = [part for part in found.parts if part.kind == "layer"]
    assert math.isclose(found.parts[0].value, float(read @ streams[0]), abs_tol=1e-5)
    for i, layer in enumerate(layers):
        assert math.isclose(layer.value, float(read @ (streams[i + 1] - streams[i])), abs_tol=1e-5)
        attention, mlp = layer.children
        shown = [part.value for part in attention.children if part.kind == "head"]
        assert torch.allclose(torch.tensor(shown).double(), heads[i] @ read, atol=1e-5)
        assert math.isclose(mlp.value, layer.value - attention.value, abs_tol=1e-5)
        bias = sum(part.value for part in attention.children if part.kind == "bias")
        assert math.isclose(attention.value, sum(shown) + bias, abs_tol=1e-5)


@torch.no_grad()
def test_the_parts_of_a_llama_are_those_of_a_calculation_by_hand() -> None:
    double = noisy("llama").double()
    streams, inputs = by_hand(double, double.model.layers, lambda layer: layer.self_attn.o_proj, 7)
    final = streams[-1]
    scale = (final.square().mean() + double.config.rms_norm_eps).rsqrt()
    read = double.lm_head.weight[7] * double.model.norm.weight * scale
    columns = torch.stack([layer.self_attn.o_proj.weight for layer in double.model.layers])  # (L, D, H * 8)
    heads = torch.einsum("ldhw,lhw->lhd", columns.reshape(2, 32, 4, 8), inputs.reshape(2, 4, 8))
    looking(noisy("llama"), lambda walk, stop: checked(of(walk, stop, 1, 7), streams, heads, read), 1)


@torch.no_grad()
def test_the_parts_of_a_gpt2_are_those_of_a_calculation_by_hand() -> None:
    double = noisy("gpt2").double()
    streams, inputs = by_hand(double, double.transformer.h, lambda layer: layer.attn.c_proj, 7)
    final, norm = streams[-1], double.transformer.ln_f
    scale = (final.var(correction=0) + norm.eps).rsqrt()
    read = double.lm_head.weight[7] * norm.weight * scale
    read = read - read.mean()
    rows = torch.stack([layer.attn.c_proj.weight for layer in double.transformer.h])  # (L, H * 8, D)
    heads = torch.einsum("lhwd,lhw->lhd", rows.reshape(2, 4, 8, 32), inputs.reshape(2, 4, 8))

    def look(walk: Walk, stop: Stop) -> None:
        found = of(walk, stop, 1, 7)
        checked(found, streams, heads, read)
        (bias,) = [part for part in found.parts if part.kind == "bias"]
        assert bias.name == "transformer.ln_f.bias"
        assert math.isclose(bias.value, float(double.lm_head.weight[7] @ norm.bias), abs_tol=1e-5)

    looking(noisy("gpt2"), look, 1)


@torch.no_grad()
def test_an_earlier_position_of_the_prompt_is_attributed_too() -> None:
    model = noisy("llama")
    ids = torch.tensor(PROMPT)
    mask = (ids != 0).long()
    plain = model(ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp_min(0)).logits

    def look(walk: Walk, stop: Stop) -> None:
        assert stop.generation.tape is not None
        for position in (3, 5):
            found = attribution(stop.generation.tape, 0, walk.anatomy, 0, 7, position=position)
            assert math.isclose(found.logit, float(plain[0, position, 7]), abs_tol=1e-5)
            assert abs(found.remainder) < 1e-4

    looking(model, look, 1)


def test_a_capped_logit_is_attributed_before_its_cap() -> None:
    model = noisy("gemma2")
    model.config.final_logit_softcapping = cap = 2.0

    def look(walk: Walk, stop: Stop) -> None:
        found = of(walk, stop, 1)
        assert found.is_capped
        assert math.isclose(cap * math.tanh(found.logit / cap), found.given, abs_tol=1e-5)

    looking(model, look, 1)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bert", "transform_act_fn .* is not linear"),
        ("deepseek_v4", "between the last layer and the logits"),
    ],
)
def test_where_a_logit_is_no_sum_the_reason_is_told(name: str, reason: str) -> None:
    def look(walk: Walk, stop: Stop) -> None:
        with pytest.raises(CannotAttribute, match=reason):
            of(walk, stop, 0)
        frame = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)[0]
        scope = attribution_scope(frame, walk.anatomy, walk.vocabulary)
        assert scope is not None
        (row,) = scope.children.named_rows()
        assert row.name == "none"
        assert re.search(reason, row.value)

    looking(tiny_model(name), look, 1)


def test_half_precision_leaves_its_rounding_as_the_remainder() -> None:
    def look(walk: Walk, stop: Stop) -> None:
        found = of(walk, stop, 1)
        assert abs(found.remainder) < 0.05 * max(1.0, abs(found.logit))
        assert all(part.children for part in found.parts if part.kind == "layer")

    looking(noisy("llama").to(torch.bfloat16), look, 1)


def test_the_answer_of_the_example_model_is_put_in_by_layers_and_heads(atlas: Loaded) -> None:
    def decide(stop: Stop) -> Motion:
        found = of(walk, stop, 0)
        assert walk.vocabulary.text(found.token) == " Paris"
        assert abs(found.remainder) < 1e-4
        assert found.terms()[0].value > 1.0
        assert sum(part.value for part in found.parts if part.kind == "layer") > 0.8 * found.logit
        assert all(len(layer.children) == 2 for layer in found.parts if layer.kind == "layer")
        return Motion.RUN

    walk = Walk(atlas, decide, ["sample"])
    walk.generate(**atlas.tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=1)
    assert walk.stops
