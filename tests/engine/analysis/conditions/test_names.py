"""The names of conditions, held against plain transformers and calculations by hand."""

from __future__ import annotations

import ast
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, set_seed

from dap_server.engine.analysis.attention.capture import attention_calls
from dap_server.engine.analysis.conditions.at_stops import StopNames
from dap_server.engine.analysis.lens.reader import LensReader, Question
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.selection import choice_of
from tests.engine.analysis.test_lens import TAILS, made
from tests.engine.walk import GREEDY, PROMPTS, Walk
from tests.models.tiny import EOS, tiny_model, tiny_tokenizer

PADDED = torch.tensor([[0, 0, 17, 5, 88, 23], [9, 30, 17, 5, 17, 60]])
"""(B, T), padded on the left."""
MASK = (PADDED > 0).long()
LONG = {**GREEDY, "min_new_tokens": 4}


def said(model: Any, place: str, message: str, **options: Any) -> list[Any]:
    """What a log message writes, one Python literal a line."""
    walk = Walk(Loaded(model, tiny_tokenizer()), breakpoints=[Wanted(0, place, log_message=message)])
    (placed,) = walk.stepper.breakpoints.all
    assert placed.is_verified, placed.problem
    walk.generate(**{"input_ids": PADDED, "attention_mask": MASK, **LONG, **options})
    return [ast.literal_eval(line.partition("] ")[2] if line.startswith("[sequence") else line) for line in walk.said]


def plain(model: Any, **options: Any) -> Any:
    asked = {"input_ids": PADDED, "attention_mask": MASK, **LONG, "return_dict_in_generate": True, **options}
    return model.generate(**asked)


def hand_entropy(logits: Tensor) -> float:
    """In nats, of scores (V,)."""
    logs = torch.log_softmax(logits.double(), dim=-1)
    return float(-(logs.exp() * logs).nan_to_num(nan=0.0).sum())


def test_the_norm_is_that_of_the_last_position() -> None:
    model = tiny_model("llama")
    out = plain(model, output_hidden_states=True)
    found = said(model, "after:model.layers.0", "({sequence}, {step}, {norm!r})")
    expected = [
        (s, step, float(hidden[1][s, -1].double().norm()))
        for step, hidden in enumerate(out.hidden_states)
        for s in range(2)
    ]
    assert found == expected


def test_before_a_module_the_norm_is_of_what_it_is_given() -> None:
    model = tiny_model("llama")
    out = plain(model, output_hidden_states=True)
    found = said(model, "model.layers.1", "({sequence}, {norm!r}, {residual[sequence, -1].norm().item()!r})")
    expected = [
        (s, float(h[1][s, -1].double().norm()), h[1][s, -1].norm().item()) for h in out.hidden_states for s in range(2)
    ]
    assert found == expected


def test_before_a_module_that_is_given_everything_by_keyword_the_norm_is_of_that() -> None:
    model, given = tiny_model("llama"), list[Tensor]()
    attention = model.model.layers[1].self_attn
    with attention.register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["hidden_states"]), with_kwargs=True
    ):
        plain(model)
    found = said(model, "before:model.layers.1.self_attn", "({sequence}, {norm!r})")
    assert found == [(s, float(hidden[s, -1].double().norm())) for hidden in given for s in range(2)]


def test_a_hook_of_the_users_that_comes_later_changes_nothing_of_what_a_condition_has_seen() -> None:
    model = tiny_model("llama")
    layer = model.model.layers[1]
    expected = said(model, "model.layers.1", "{norm!r}")
    walk = Walk(Loaded(model, tiny_tokenizer()), breakpoints=[Wanted(0, "model.layers.1", log_message="{norm!r}")])
    with layer.register_forward_pre_hook(lambda _, args: (torch.zeros_like(args[0]), *args[1:])):
        walk.generate(input_ids=PADDED, attention_mask=MASK, max_new_tokens=1)
    assert [ast.literal_eval(line.partition("] ")[2]) for line in walk.said] == expected[:2]


def test_the_choice_of_a_token() -> None:
    model = tiny_model("llama")
    options = {"do_sample": True, "temperature": 0.7, "top_k": 5}
    set_seed(3)
    out = plain(model, **options, output_scores=True, output_logits=True)
    names = "({sequence}, {token}, {text!r}, {prob!r}, {entropy!r}, {top(3)!r}, {logits.tolist()!r})"
    set_seed(3)
    found = said(model, "sample", names, **options)
    vocabulary = tiny_tokenizer()
    ids = out.sequences[:, PADDED.shape[1] :]
    for i, (sequence, token, text, prob, entropy, top, logits) in enumerate(found):
        step, scores = i // 2, out.scores[i // 2][i % 2]
        assert (sequence, token, text) == (i % 2, int(ids[i % 2, step]), vocabulary.decode([int(ids[i % 2, step])]))
        probs = torch.softmax(scores.double(), dim=-1)
        assert prob == pytest.approx(float(probs[token]), abs=1e-12)
        assert entropy == pytest.approx(hand_entropy(scores), abs=1e-9)
        best = probs.topk(3)
        assert [t for t, _ in top] == [vocabulary.decode([int(i)]) for i in best.indices]
        assert [p for _, p in top] == pytest.approx(best.values.tolist(), abs=1e-12)
        assert logits == out.logits[step][sequence].tolist()
    assert len(found) == 8


def test_what_was_generated_is_the_text_behind_the_prompt() -> None:
    model = tiny_model("llama")
    found = said(model, "sample", "({sequence}, {step}, {generated!r})")
    tokens = plain(model).sequences[:, PADDED.shape[1] :].tolist()
    decode = tiny_tokenizer().decode
    assert found == [
        (s, step, decode(tokens[s][: step + 1], skip_special_tokens=True))
        for step in range(len(tokens[0]))
        for s in range(2)
    ]


def test_entropy_is_of_the_scores_as_they_are_at_the_place() -> None:
    model = tiny_model("llama")
    options = {"do_sample": True, "temperature": 0.5, "top_k": 0, "suppress_tokens": [7]}
    set_seed(1)
    out = plain(model, **options, output_logits=True)
    for place, scale in (("after:logits", 1.0), ("TemperatureLogitsWarper", 0.5), ("before:sample", 0.5)):
        set_seed(1)
        found = said(model, place, "{entropy!r}", **options)
        rows = [logits[s] / scale for logits in out.logits for s in range(2)]
        if place != "after:logits":  # `min_new_tokens` has taken out the end
            for i, row in enumerate(rows):
                rows[i] = row.index_fill(0, torch.tensor([EOS, 7]), -torch.inf)
        assert found == pytest.approx([hand_entropy(row) for row in rows], abs=1e-6)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "granite", "mamba", "opt"])
def test_the_lens_is_the_models_own_norm_and_head(name: str) -> None:
    model = made(name)
    layer = {"gpt2": "transformer.h.0", "mamba": "backbone.layers.0", "opt": "model.decoder.layers.0"}.get(
        name, "model.layers.0"
    )
    out, behind = plain(model, output_hidden_states=True), 0 if name == "mamba" else 1  # which keeps no first one
    found = said(model, f"after:{layer}", "({sequence}, {lens(4)!r})")
    vocabulary = tiny_tokenizer()
    expected = [
        (s, [vocabulary.decode([int(i)]) for i in TAILS[name](model, hidden[behind][:, -1:])[s, -1].topk(4).indices])
        for hidden in out.hidden_states
        for s in range(2)
    ]
    assert found == expected


def test_before_a_layer_the_lens_reads_what_enters_it() -> None:
    model = tiny_model("llama")
    behind = said(model, "after:model.layers.0", "{lens(6)!r}")
    before = said(model, "before:model.layers.1", "{lens(6)!r}")
    assert behind == before
    assert len(behind) == 8


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "bloom"])
def test_attention_is_where_the_last_position_looks(name: str) -> None:
    model = tiny_model(name)
    config = model.config
    eager = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    eager.generation_config = model.generation_config
    out = plain(eager, output_attentions=True)
    path = {"gpt2": "transformer.h.0.attn", "bloom": "transformer.h.0.self_attention"}.get(
        name, "model.layers.0.self_attn"
    )
    for place in (path, path.rpartition(".")[0]):  # itself, and the layer that contains it
        found = said(model, place, "({sequence}, {attention(1).tolist()!r})")
        expected = [(s, weights[0][s, 1, -1]) for weights in out.attentions for s in range(2)]
        assert [s for s, _ in found] == [s for s, _ in expected]
        for (_, ours), (_, theirs) in zip(found, expected, strict=True):
            torch.testing.assert_close(torch.tensor(ours), theirs, atol=2e-7, rtol=0)


def test_what_conditions_see_is_what_the_panels_show() -> None:
    model = tiny_model("llama")
    message = "({lens(5)!r}, {attention(1).tolist()!r}, {norm!r})"
    shown: list[Any] = []

    def decide(stop: Stop) -> Motion:
        generation = stop.generation
        tape = generation.tape
        assert tape is not None
        step, path = stop.place.step, stop.place.path
        (frame,) = CallStack(stop, walk.stepper, walk.vocabulary, 0).page(0, 1)
        names = StopNames(frame, walk.anatomy, walk.vocabulary)
        if path == "sample":
            assert (names["entropy"], names["prob"]) == ast.literal_eval(walk.said[-1])
            choice = choice_of(generation.selection, generation.selection.tokens, 0, False, True)  # type: ignore[union-attr, arg-type]
            shown.append((choice.final.entropy, choice.final.at(choice.token).probability))
        else:
            reader = LensReader(generation, step, 0, walk.anatomy)
            top = reader.read(Question(layers=[1], top=5)).columns[-1].said[0].top
            (call,) = attention_calls(tape, step, path, walk.anatomy)
            row = call.weights(0, slice(call.shape[2] - 1, None))[1, 0]
            lens, attention = names["lens"], names["attention"]
            assert callable(lens)
            assert callable(attention)
            assert (lens(5), attention(1).tolist(), names["norm"]) == ast.literal_eval(walk.said[-1])
            norm = float(stop.output[0, -1].double().norm())
            shown.append(([walk.vocabulary.text(c.id) for c in top], row.tolist(), norm))
        return Motion.RUN

    walk = Walk(
        Loaded(model, tiny_tokenizer()),
        decide,
        [
            Wanted(0, "after:model.layers.1", log_message=message),
            Wanted(0, "after:sample", log_message="({entropy!r}, {prob!r})"),
            "after:model.layers.1",
            "after:sample",
        ],
    )
    walk.generate(input_ids=PROMPTS[:1], **LONG)
    assert [ast.literal_eval(line) for line in walk.said] == shown
    assert len(shown) == 8


def test_operations_have_their_operands() -> None:
    model = tiny_model("llama")
    found = said(
        model,
        "after:model.layers.0.mlp/aten::silu",
        "({layer}, {(output == torch.nn.functional.silu(input)).all().item()})",
    )
    assert set(found) == {(0, True)}
