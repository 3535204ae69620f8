"""Heads and patterns edited over the wire, on the example model, against hooks of plain transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, to_the_end
from tests.e2e.test_attention import look, numbers

COPYING, FACT = "cat tree lamp moon cat", "The capital of France is"
SHORT = {"max_new_tokens": 6, "min_new_tokens": 6}
INDUCTION = [(3, 4), (3, 3), (2, 1), (3, 5), (4, 3), (5, 5)]
"""Layers and heads that copy, the strongest first, as the model's own page names them."""


def attention(layer: int, change: Json, **chosen: Any) -> Json:
    return {"target": {"kind": "attention", "path": f"model.layers.{layer}.self_attn", **chosen}, "change": change}


def edited(client: RawClient, *edits: Json) -> Json:
    body = client.ask("llm/edit", edits=list(edits), steps="onwards")
    client.stop()
    return body


def test_without_its_induction_heads_the_model_copies_no_more_and_still_knows_facts(run: Run, plain: Plain) -> None:
    handles = [
        plain.model.get_submodule(f"model.layers.{layer}.self_attn.o_proj").register_forward_pre_hook(without(head))
        for layer, head in INDUCTION
    ]
    expected = {prompt: plain.texts(prompt, **SHORT)[0] for prompt in (COPYING, FACT)}
    for handle in handles:
        handle.remove()
    assert expected[FACT] == plain.texts(FACT, **SHORT)[0]
    assert expected[COPYING] != plain.texts(COPYING, **SHORT)[0]
    zero = [attention(layer, {"kind": "zero"}, heads=[head]) for layer, head in INDUCTION]
    for prompt in (COPYING, FACT):
        client = run("step", prompt=prompt, generation=SHORT)
        client.stop()
        body = edited(client, *zero)
        assert [edit.get("problem") for edit in body["edits"]] == [None] * len(INDUCTION)
        assert to_the_end(client) == expected[prompt]


def without(head: int) -> Any:
    def hook(_module: Any, args: tuple[Tensor]) -> tuple[Tensor]:
        joined = args[0].clone()
        joined[..., 32 * head : 32 * (head + 1)] = 0  # of width 32
        return (joined,)

    return hook


def test_what_is_shown_of_attention_is_the_edited_pattern(run: Run) -> None:
    client = run("sample", prompt=FACT, generation=SHORT)
    client.stop()
    before = look(client, layer=2, dtype="float32")["calls"][0]
    edited(client, attention(2, {"kind": "zero"}, value="pattern", heads=[1], keys=[4]))
    after = look(client, layer=2, dtype="float32")["calls"][0]
    for head in after["heads"]:
        shown, expected = numbers(head["tile"]), numbers(before["heads"][head["head"]]["tile"])
        if head["head"] == 1:
            assert expected[:, 4].max() > 0
            expected[:, 4] = 0
        assert torch.allclose(shown, expected, atol=1e-6, rtol=0)
    client.ask("llm/undoEdit")
    client.stop()
    assert look(client, layer=2, dtype="float32")["calls"][0] == before


def test_a_head_that_there_is_not_is_refused(run: Run) -> None:
    client = run("sample", prompt=FACT, generation=SHORT)
    client.stop()
    with pytest.raises(Refused, match="no heads 6: there are 6"):
        client.ask("llm/edit", edits=[attention(0, {"kind": "zero"}, heads=[6])])
    target = {"kind": "expert", "path": "model.layers.0.mlp", "expert": 0}
    with pytest.raises(Refused, match="there is no router of experts"):
        client.ask("llm/edit", edits=[{"target": target, "change": {"kind": "zero"}}])
    assert client.ask("llm/edits") == {"edits": []}
