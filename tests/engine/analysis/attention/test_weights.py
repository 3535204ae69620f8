"""Attention weights under any kernel, against the eager function, and what heads are called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.modeling_utils import AttentionInterface
from transformers.models.llama.modeling_llama import eager_attention_forward

from dap_server.engine.analysis.attention.capture import attention_calls
from dap_server.engine.analysis.attention.heads import Tally
from dap_server.engine.analysis.attention.rows import attention_scope
from dap_server.engine.analysis.attention.weights import DispatchedCall, Rows
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.attention.text import AttentionText
from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from tests.conftest import EXAMPLE_MODEL
from tests.engine.walk import Walk

TEXTS = ["Repeat: red lamp tree moon cup. Again: red lamp tree", "one two"]


@pytest.fixture(scope="module")
def eager() -> Loaded:
    model = AutoModelForCausalLM.from_pretrained(EXAMPLE_MODEL, attn_implementation="eager").eval()
    return Loaded(model, None)


def at_step(loaded: Loaded, step: int, texts: list[str], look: Callable[[Walk, Stop, Tape], None]) -> None:
    """Runs to the choice of a token and looks from there."""

    def decide(stop: Stop) -> Motion:
        if stop.place.step == step:
            assert stop.generation.tape is not None
            look(walk, stop, stop.generation.tape)
        return Motion.RUN

    walk = Walk(loaded, decide, ["sample"])
    inputs = loaded.tokenizer(texts, return_tensors="pt", padding=True)
    walk.generate(**inputs, max_new_tokens=step + 1, disable_compile=True)
    assert len(walk.stops) > step


@pytest.mark.parametrize("step", [0, 2], ids=["prefill", "decode step with grouped heads"])
def test_weights_equal_those_of_an_eager_run(atlas: Loaded, eager: Loaded, step: int) -> None:
    def look(walk: Walk, stop: Stop, tape: Tape) -> None:
        inputs = atlas.tokenizer(TEXTS, return_tensors="pt", padding=True)
        options = {"return_dict_in_generate": True, "output_attentions": True, "max_new_tokens": step + 1}
        expected: tuple[Tensor, ...] = eager.model.generate(**inputs, **options).attentions[step]
        calls = attention_calls(tape, step, "", walk.anatomy)
        assert [call.path for call in calls] == [f"model.layers.{i}.self_attn" for i in range(6)]
        for call, reference in zip(calls, expected, strict=True):
            for sequence in range(2):
                weights = call.weights(sequence)
                masked = weights.isnan().all(-1)
                assert torch.allclose(weights[~masked], reference[sequence][~masked], atol=5e-6, rtol=0)
        first = calls[0]
        shown = ~first.weights(0).isnan().all(-1)
        assert torch.equal(first.weights(0)[shown], expected[0][0][shown])

    at_step(atlas, step, TEXTS, look)


def test_rows_of_padding_are_masked_and_no_others(atlas: Loaded) -> None:
    def look(walk: Walk, stop: Stop, tape: Tape) -> None:
        (call,) = attention_calls(tape, 0, "model.layers.2", walk.anatomy)
        assert call.path == "model.layers.2.self_attn"
        mask = stop.generation.attention_mask
        assert mask is not None
        for sequence in range(2):
            masked = call.weights(sequence).isnan().all(-1)
            assert torch.equal(masked, (mask[sequence] == 0).expand_as(masked))

    at_step(atlas, 0, TEXTS, look)


def test_only_the_rows_asked_for_are_computed_and_they_are_the_same(atlas: Loaded) -> None:
    def look(walk: Walk, _stop: Stop, tape: Tape) -> None:
        (call,) = attention_calls(tape, 0, "model.layers.4", walk.anatomy)
        rows = call.weights(0, slice(3, 5))
        assert rows.shape[1] == 2
        assert torch.allclose(rows, call.weights(0)[:, 3:5], atol=1e-6, rtol=0)

    at_step(atlas, 0, TEXTS[:1], look)


@pytest.mark.parametrize("kind", ["none", "boolean", "added", "padding"])
def test_every_form_of_mask_means_the_same(atlas: Loaded, kind: str) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(1, 6, 4, 32), torch.randn(1, 2, 4, 32)
    allowed = torch.ones(4, 4, dtype=torch.bool).tril()[None, None]
    lowest = torch.finfo(torch.float32).min
    masks = {
        "none": None,
        "boolean": allowed,
        "added": torch.where(allowed, 0.0, lowest),
        "padding": torch.ones(1, 4, dtype=torch.long),
    }
    module = atlas.model.model.layers[0].self_attn
    call = DispatchedCall(
        module=module,
        query=query,
        key=key,
        value=key,
        mask=masks[kind],
        options={"scaling": 0.2},
        eager=eager_attention_forward,
        is_eager=False,
    )
    scores = torch.einsum("hqd,hkd->hqk", query[0], key[0].repeat_interleave(3, 0)).double() * 0.2
    expected = scores.masked_fill(~allowed[0], float("-inf")).softmax(-1)
    assert torch.allclose(call.weights(0).double(), expected, atol=1e-6, rtol=0)


def test_heads_made_to_measure_get_their_names() -> None:
    tokens = [5, 6, 7, 5, 6, 7]
    weights = torch.zeros(4, 6, 6)
    for q in range(6):
        weights[0, q, max(q - 1, 0)] = 1  # the token before
        weights[1, q, 0] = 1  # the first
        weights[2, q, q - 2 if q >= 3 else q] = 1  # after the last occurrence
        weights[3, q, q - 3 if q >= 3 else q] = 1  # the last occurrence
    ids = torch.tensor([tokens])
    tally = Tally(AttentionText(query_ids=ids, key_ids=ids, known_keys=6), 0, 6, torch.device("cpu"))
    tally.add(Rows(weights[:, :2], None), 0)
    tally.add(Rows(weights[:, 2:], None), 2)
    summaries = tally.summaries()
    assert [s.kind for s in summaries] == ["previous token", "sink", "induction", "duplicate"]
    assert summaries[0].entropy == pytest.approx(0)
    assert summaries[1].distance == pytest.approx(2.5)


def test_the_induction_heads_of_the_example_model_are_named_as_such(atlas: Loaded) -> None:
    def look(walk: Walk, stop: Stop, _tape: Tape) -> None:
        frames = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, None)
        layer = next(f for f in frames if f.path == "model.layers.3")
        scope = attention_scope(layer, walk.anatomy, walk.vocabulary)
        assert scope is not None
        heads = {row.name: row for row in scope.children.named_rows()}
        assert heads["head 4"].value.startswith("induction")
        assert heads["head 4"].children is not None
        last = heads["head 4"].children.indexed_rows(0, 100)[-1]
        assert "' tree'  looks at ' moon'" in last.value

    at_step(atlas, 0, TEXTS[:1], look)


def test_looking_at_attention_leaves_the_run_and_transformers_alone(atlas: Loaded) -> None:
    before = AttentionInterface.get_interface
    inputs = atlas.tokenizer(TEXTS, return_tensors="pt", padding=True)
    torch.manual_seed(4)
    expected = atlas.model.generate(**inputs, max_new_tokens=5, do_sample=True, disable_compile=True)

    def decide(stop: Stop) -> Motion:
        assert stop.generation.tape is not None
        attention_calls(stop.generation.tape, stop.place.step, "", walk.anatomy)
        return Motion.RUN

    walk = Walk(atlas, decide, ["*.layers.3"])
    torch.manual_seed(4)
    actual = walk.generate(**inputs, max_new_tokens=5, do_sample=True, disable_compile=True)
    assert torch.equal(actual, expected)
    assert AttentionInterface.get_interface is before
