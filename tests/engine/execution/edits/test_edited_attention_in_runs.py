"""Heads, patterns, experts and layers that somebody edits at a stop: in the steps that follow, and when one looks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.analysis.attention.capture import attention_calls
from dap_server.engine.analysis.attention.rows import headline
from dap_server.engine.analysis.attention.weights import EditedCall
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Expert
from dap_server.engine.execution.stepping import Motion, Stop
from tests.engine.execution.edits.sessions import Session, by_hand, edit, editing, output, plain, same_run
from tests.models.tiny import tiny_model

SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 1.3}


def edited(model: Any, at: str, step: int, *edits: Edit, then: Any = None) -> Any:
    """A sampled run that is edited where it first stops in a step, and looked at where it stands again."""
    return Session(model, [editing(*edits), *([then] if then else [])], at, step=step).run(**SAMPLED)


@pytest.mark.parametrize(("name", "path", "join"), [
    ("llama", "model.layers.1.self_attn", "o_proj"),
    ("bloom", "transformer.h.0.self_attention", "dense"),
    ("gpt_oss", "model.layers.0.self_attn", "o_proj"),
])  # fmt: skip
def test_a_head_that_is_ablated_from_a_step_on(name: str, path: str, join: str) -> None:
    model = tiny_model(name)
    at = f"{path}.{join}"
    result = edited(model, path, 2, edit(AttentionValue(path, heads=(1,)), "zero", 2))

    def without_head(step: int, joined: Tensor) -> Tensor:
        width = joined.shape[-1] // 4
        kept = torch.ones(joined.shape[-1])
        kept[width : 2 * width] = 0
        return torch.where(kept.bool(), joined, 0.0) if step >= 2 else joined

    with by_hand(model.get_submodule(at), without_head, of_input=True):
        assert same_run(result, plain(model, **SAMPLED))
    assert not same_run(result, plain(model, **SAMPLED))


def test_looks_show_what_the_pattern_became_in_the_steps_of_the_edit() -> None:
    model, path = tiny_model("llama"), "model.layers.1.self_attn"
    found: dict[int, Any] = {}

    def look(session: Session, stop: Stop) -> Motion:
        tape = stop.generation.tape
        assert tape is not None
        for step in (1, 2):
            (found[step],) = attention_calls(tape, step, path, session.anatomy)
        return Motion.RUN

    edited(model, "sample", 2, edit(AttentionValue(path, "pattern", heads=(2,), keys=(4,)), "zero", 2), then=look)
    assert not isinstance(found[1], EditedCall)
    assert float(found[1].weights(0)[2, :, 4]) > 0
    assert isinstance(found[2], EditedCall)
    assert float(found[2].weights(0)[2, :, 4]) == 0
    assert float(found[2].weights(0)[1, :, 4]) > 0
    assert headline(found[2], 0) == "self attention · sdpa · 4 heads · 1 × 8 · edited"


def test_what_somebody_computes_at_a_stop_is_not_edited() -> None:
    """A softmax in the console, while a module stands still that computes its own."""
    model, path = tiny_model("bloom"), "transformer.h.0.self_attention"
    scores, seen = torch.randn(2, 4, 1, 9), list[Tensor]()

    def look(_session: Session, _stop: Stop) -> Motion:
        seen.append(torch.softmax(scores, dim=-1) @ torch.ones(2, 4, 9, 8))
        return Motion.RUN

    edited(model, f"{path}.query_key_value", 2, edit(AttentionValue(path, "pattern"), "zero", 2), then=look)
    assert torch.equal(seen[0], torch.softmax(scores, dim=-1) @ torch.ones(2, 4, 9, 8))


def test_attention_that_is_frozen_looks_where_the_step_looked_in_another_run() -> None:
    model, path = tiny_model("llama"), "model.layers.1.self_attn"
    found: list[Tensor] = []

    def look(session: Session, stop: Stop) -> Motion:
        tape = stop.generation.tape
        assert tape is not None
        (call,) = attention_calls(tape, 0, path, session.anatomy)
        found.append(torch.stack([call.weights(b) for b in range(2)]).nan_to_num())
        return Motion.RUN

    Session(model, [look], "sample").run(**SAMPLED)
    disturbed = edit(AttentionValue("model.layers.0.self_attn"), "scale", number=-3.0)
    frozen = edit(AttentionValue(path, "pattern"), "freeze", 0, 0, tensor=found[0])
    edited(model, "sample", 0, disturbed, frozen, then=look)
    edited(model, "sample", 0, disturbed, then=look)
    assert torch.equal(found[1], found[0])
    assert not torch.allclose(found[2], found[0], atol=1e-3)


def test_an_expert_that_is_ablated_from_a_step_on() -> None:
    model = tiny_model("mixtral")
    result = edited(model, "step", 1, edit(Expert("model.layers.1.mlp", 2), "zero", 1))
    experts = model.model.layers[1].mlp.experts

    def without_expert(_module: nn.Module, args: Any) -> Any:
        states, numbers, weights = args
        if states.shape[0] > 2:  # the prefill
            return args
        return states, numbers, torch.where(numbers == 2, 0.0, weights)

    handle = experts.register_forward_pre_hook(without_expert)
    expected = plain(model, **SAMPLED)
    handle.remove()
    assert same_run(result, expected)
    assert not same_run(result, plain(model, **SAMPLED))


@pytest.mark.parametrize(("name", "layers"), [("llama", "model.layers"), ("gpt2", "transformer.h")])
def test_a_layer_that_is_skipped_is_as_if_it_were_not_there(name: str, layers: str) -> None:
    model = tiny_model(name)
    result = edited(model, "step", 0, edit(output(f"{layers}.1"), "skip"))
    holder, list_name = model.get_submodule(layers.rpartition(".")[0]), layers.rpartition(".")[2]
    whole = getattr(holder, list_name)
    setattr(holder, list_name, whole[:1])
    try:
        expected = plain(model, **SAMPLED)
    finally:
        setattr(holder, list_name, whole)
    assert same_run(result, expected)
    assert not same_run(result, plain(model, **SAMPLED))


INDUCTION = [(3, 4), (3, 3), (2, 1), (3, 5), (4, 3), (5, 5)]
"""Layers and heads, the strongest first, as the example model's own page names them."""


def test_without_its_induction_heads_the_example_model_copies_no_more_and_still_knows_facts(atlas: Loaded) -> None:
    def said(prompt: str, *edits: Edit) -> str:
        def edit_there(session: Session, stop: Stop) -> None:
            session.edit(stop, *edits)

        session = Session(atlas.model, [edit_there] if edits else [], "step")
        ids = atlas.tokenizer(prompt, return_tensors="pt")
        text: str = atlas.tokenizer.decode(session.generate(**ids, max_new_tokens=6)[0], skip_special_tokens=True)
        return text.removeprefix(prompt)

    ablated = [
        edit(AttentionValue(f"model.layers.{layer}.self_attn", heads=(head,)), "zero") for layer, head in INDUCTION
    ]
    copying, fact = "cat tree lamp moon cat", "The capital of France is"
    assert said(copying) == " tree lamp moon cat tree lamp"
    assert not said(copying, *ablated).startswith(" tree")
    assert said(fact, *ablated) == said(fact) == " Paris. The currency of France"
    assert said(copying) == " tree lamp moon cat tree lamp"
