"""What the filters of anomalies measure, held against plain transformers and calculations by hand."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, set_seed

from dap_server.engine.analysis.anomalies import choosing, magnitudes
from dap_server.engine.analysis.anomalies.measures import Measures
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.nonlinearities import Ends, ends_of, is_nonlinearity
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.judging import Candidate
from dap_server.modelmap.places import Place
from tests.engine.analysis.anomalies.recording import LISTENS, measured, recorded
from tests.engine.walk import GREEDY
from tests.models.tiny import EOS, tiny_model

PADDED = torch.tensor([[0, 0, 17, 5, 88, 23, 40], [9, 30, 17, 5, 17, 60, 41]])
"""(B, T), padded on the left."""
ASKED: dict[str, Any] = {**GREEDY, "min_new_tokens": 4, "input_ids": PADDED, "attention_mask": (PADDED > 0).long()}


def plain(model: Any, **options: Any) -> Any:
    return model.generate(**{**ASKED, "return_dict_in_generate": True, **options})


def median(vector: Tensor) -> float:
    """The lower one of two."""
    return float(statistics.median_low(abs(x) for x in vector.tolist()))


# --- magnitudes


@pytest.mark.parametrize(("name", "layer"), [("llama", "model.layers.{}"), ("gpt2", "transformer.h.{}")])
def test_growth_compares_the_typical_elements_of_the_last_position(name: str, layer: str) -> None:
    model = tiny_model(name)
    found = recorded(model, "residual", f"after:{layer.format(0)}", **ASKED)
    hidden = plain(model, output_hidden_states=True).hidden_states
    assert len(found) == 8
    for (_, step, sequence), values in found.items():
        before, after = hidden[step][0][sequence, -1], hidden[step][1][sequence, -1]
        assert values == {"growth": pytest.approx(median(after) / median(before), rel=1e-6)}


def test_single_huge_elements_are_no_growth() -> None:
    vector = torch.linspace(-1, 1, 192)
    usual = magnitudes.typical(vector)
    vector[17] = 2_000
    assert magnitudes.typical(vector) == pytest.approx(float(usual), rel=0.02)


def test_of_a_vector_of_zeros_nothing_can_be_told() -> None:
    model = tiny_model("llama")
    with torch.no_grad():
        model.model.embed_tokens.weight[PADDED[:, -1]] = 0
    found = recorded(model, "residual", "after:model.layers.0", **{**ASKED, "max_new_tokens": 1, "min_new_tokens": 1})
    assert all(math.isnan(values["growth"]) for values in found.values())


def at_module(path: str, output: Any) -> Candidate:
    return Candidate(Place(0, path, "after"), Generation(), None, output)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_peak_is_the_largest_magnitude_and_the_limit_that_of_the_dtype(dtype: torch.dtype) -> None:
    model, limit = nn.Linear(1, 1), torch.finfo(dtype).max
    anatomy = Anatomy(model)
    cases = [
        ([1.0, -3.0, 2.0], 3.0),
        ([1.0, math.nan], 1.0),
        ([1.0, -math.inf], 1.0),
        ([-limit, 5.0], 5.0),  # what a mask is filled with
        ([], 0.0),
    ]
    for elements, expected in cases:
        candidate = at_module("", (torch.tensor(elements, dtype=dtype),))
        assert measured(Measures(anatomy), ["peak", "limit"], candidate) == {"peak": expected, "limit": limit}


# --- activations


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("opt", "model.decoder.layers.0.activation_fn"),
        ("gpt2", "transformer.h.0.mlp.act"),
        ("llama", "model.layers.1.mlp.act_fn"),
    ],
)
def test_a_dead_unit_lets_nothing_through_at_any_position(name: str, path: str) -> None:
    model = tiny_model(name)
    rows: list[tuple[Tensor, Tensor]] = []
    units = model.get_submodule(path.rpartition(".")[0])
    layer = {"opt": "fc1", "gpt2": "c_fc", "llama": "gate_proj"}[name]
    with torch.no_grad():
        weight = getattr(units, layer).weight
        weight.mul_(40)  # so that some units are off
        (weight if name != "gpt2" else weight.T)[3].zero_()
    handle = model.get_submodule(path).register_forward_hook(lambda _m, args, out: rows.append((args[0], out)))
    plain(model)
    handle.remove()
    found = recorded(model, "deadActivations", f"after:{path}", **ASKED)
    for step, (given, made) in enumerate(rows):
        width = made.shape[-1]
        x, y = given.reshape(-1, width).tolist(), made.reshape(-1, width).tolist()
        off = [
            all(abs(b[u]) <= 1e-8 or abs(b[u]) <= 1e-3 * abs(a[u]) for a, b in zip(x, y, strict=True))
            for u in range(width)
        ]
        assert found[(path, step, 0)]["dead"] == pytest.approx(sum(off) / width)
        assert found[(path, step, 0)]["saturated"] == 0
    assert 0 < found[(path, 1, 0)]["dead"] < 1


def test_saturated_units_are_at_an_end() -> None:
    model, path = tiny_model("gpt2"), "transformer.h.0.mlp.act"
    model.set_submodule(path, nn.Tanh())
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight.mul_(100)
    rows: list[Tensor] = []
    handle = model.get_submodule(path).register_forward_hook(lambda _m, _args, out: rows.append(out))
    plain(model)
    handle.remove()
    found = recorded(model, "deadActivations", f"after:{path}", **ASKED)
    for step, made in enumerate(rows):
        ends = [abs(x) >= 0.998 for x in made.flatten().tolist()]
        assert found[(path, step, 0)]["saturated"] == pytest.approx(sum(ends) / len(ends))
        assert 0 < found[(path, step, 0)]["saturated"] < 1


def test_activation_functions_are_found_in_every_way_they_are_written() -> None:
    for name, kind in [
        ("llama", "SiLU"),
        ("bloom", "BloomGelu"),
        ("opt", "ReLU"),
        ("gpt2", "NewGELU"),
        ("mamba", "SiLU"),
    ]:
        found = {type(m).__name__ for m in tiny_model(name).modules() if is_nonlinearity(m)}
        assert any(one.startswith(kind) for one in found), (name, found)
    assert not any(
        is_nonlinearity(m) for m in (nn.Softmax(), nn.Linear(1, 1), nn.MultiheadAttention(2, 1), nn.Identity())
    )
    assert ends_of(nn.Tanh()) == Ends(-1, 1)
    assert ends_of(nn.ReLU6()) == Ends(None, 6)
    assert ends_of(nn.ReLU()) == Ends(None, None)


def test_an_expert_that_nobody_asks_is_not_dead() -> None:
    model = nn.ReLU()
    found = measured(Measures(Anatomy(model)), ["dead", "saturated"], at_module("", torch.zeros(0, 8)))
    assert found == {"dead": 0, "saturated": 0}


# --- attention


def of_heads(row: Tensor, first: int) -> tuple[float, float]:
    """Shares of collapsed and of uniform heads of weights (H, S), one by one."""
    collapsed, uniform = 0, 0
    for weights in row.double().tolist():
        if len(weights) - max(first, 0) < 4:
            continue
        seen = [w for w in weights if w > 0]
        entropy = -sum(w * math.log(w) for w in seen)
        collapsed += max(weights) >= 0.999 and weights.index(max(weights)) != first
        uniform += len(seen) >= 4 and math.log(len(seen)) - entropy < 0.01
    return collapsed / len(row), uniform / len(row)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
@pytest.mark.parametrize("factor", [0.0, 1.0, 300.0])
def test_heads_collapse_or_look_everywhere_alike(name: str, factor: float) -> None:
    model = tiny_model(name)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "q_proj" in path or "c_attn" in path:
                parameter.mul_(factor)
    eager = AutoModelForCausalLM.from_config(model.config, attn_implementation="eager").eval()
    eager.load_state_dict(model.state_dict())
    eager.generation_config = model.generation_config
    path = "transformer.h.0.attn" if name == "gpt2" else "model.layers.0.self_attn"
    found = recorded(model, "attention", f"after:{path}", condition=LISTENS, **ASKED)
    attentions = plain(eager, output_attentions=True).attentions
    assert len(found) == 8
    for (_, step, sequence), values in found.items():
        row = attentions[step][0][sequence, :, -1]
        dropped = PADDED.shape[1] + step - row.shape[-1]  # by a window
        expected = of_heads(row, 2 - 2 * sequence - dropped)
        assert (values["collapsed"], values["uniform"]) == pytest.approx(expected)
    assert {values["uniform"] for values in found.values()} == {1.0} or factor > 0


# --- the text


def brute_cycle(tokens: list[int]) -> tuple[int, int]:
    """The cycle that covers most, by comparing pieces."""
    best = (0, 1, 1)
    for period in range(1, len(tokens) // 2 + 1):
        piece, repeats = tokens[-period:], 1
        while tokens[len(tokens) - period * (repeats + 1) : len(tokens) - period * repeats] == piece:
            repeats += 1
        if repeats > 1 and period * repeats > best[0]:
            best = (period * repeats, period, repeats)
    return best[1:]


def test_the_cycle_at_the_end_is_the_one_that_covers_most() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 2, (length,), generator=generator) for length in range(1, 40) for _ in range(5)]
    texts += [torch.tensor([7, 1, 2, 3] + [4, 5, 6] * n) for n in range(6)]
    for text in texts:
        period, repeats = choosing.cycle_of(text)
        assert (int(period), int(repeats)) == brute_cycle(text.tolist()), text


def test_only_what_the_model_has_said_can_repeat_itself() -> None:
    model = tiny_model("llama")
    said = plain(model, max_new_tokens=12, min_new_tokens=12).sequences
    found = recorded(model, "repetition", "after:sample", **{**ASKED, "max_new_tokens": 12, "min_new_tokens": 12})
    for (_, step, sequence), values in found.items():
        tokens = said[sequence, PADDED.shape[1] : PADDED.shape[1] + step + 1].tolist()
        assert (values["period"], values["repeats"]) == brute_cycle(tokens)


def test_uncertainty_is_the_larger_of_the_models_and_the_draws() -> None:
    model = tiny_model("llama")
    for options in ({"temperature": 0.05, "top_k": 0}, {"temperature": 50.0, "top_k": 0}, {"top_k": 3}):
        set_seed(1)
        out = plain(model, do_sample=True, output_logits=True, output_scores=True, **options)
        set_seed(1)
        found = recorded(model, "lowConfidence", "after:sample", **{**ASKED, "do_sample": True, **options})
        for (_, step, sequence), values in found.items():
            spread = []
            for scores in (out.logits[step][sequence], out.scores[step][sequence]):
                probs = torch.softmax(scores.double(), dim=-1).tolist()
                spread.append(-sum(p * math.log(p) for p in probs if p > 0) / math.log(len(probs)))
            assert values["uncertainty"] == pytest.approx(max(spread), abs=1e-9)


# --- padding


def padding(model: Any, generation: Generation, sequence: int = 0) -> tuple[float, ...]:
    """Padding that is looked at, text that is hidden, padding behind the text, tokens."""
    names = ["attended_padding", "masked_tokens", "right_padding", "tokens"]
    found = measured(Measures(Anatomy(model)), names, Candidate(Place(0, "step"), generation), sequence)
    return tuple(found.values())


@pytest.mark.parametrize(
    ("ids", "mask", "expected"),
    [
        ([5, 6, 7], [1, 1, 1], (0, 0, 0, 3)),
        ([0, 0, 7], [0, 0, 1], (0, 0, 0, 1)),
        ([0, 0, 7], [1, 1, 1], (2, 0, 0, 1)),
        ([5, 6, 0], [1, 1, 0], (0, 0, 1, 2)),
        ([5, 6, 0], [1, 1, 1], (1, 0, 1, 2)),
        ([5, 0, 7], [1, 1, 1], (1, 0, 0, 2)),
        ([5, 6, 7], [0, 1, 1], (0, 1, 0, 2)),
        ([5, 6, 7], [1, 1, 0], (0, 1, 1, 2)),
        ([0, 0, 0], [0, 0, 0], (0, 0, 0, 0)),
        ([0, 0, 0], [1, 1, 1], (3, 0, 0, 0)),
    ],
)
@pytest.mark.parametrize("shared", [False, True])
def test_padding_and_mask_are_held_against_each_other(
    ids: list[int], mask: list[int], expected: tuple[int, ...], shared: bool
) -> None:
    model = tiny_model("llama")
    if shared:  # the padding is also the end of a text: at its edge one may be meant
        model.generation_config.eos_token_id = 0
        if ids in ([5, 6, 0], [0, 0, 7], [5, 0, 7]):
            return
    generation = Generation(input_ids=torch.tensor([ids]), attention_mask=torch.tensor([mask]), prompt_length=3)
    assert padding(model, generation) == expected


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([0], (0, 0, 0, 1)),  # nothing but the beginning of a text
        ([0, 6, 7], (0, 0, 0, 3)),
        ([0, 0, 0, 6, 7], (2, 0, 0, 3)),
        ([6, 0, 7, 0], (0, 0, 0, 4)),  # two texts, each with its end
        ([6, 0, 0, 0], (2, 0, 2, 2)),
    ],
)
def test_a_token_that_is_padding_and_more_is_padding_at_the_edges_only(
    ids: list[int], expected: tuple[int, ...]
) -> None:
    model = tiny_model("llama")
    model.generation_config.eos_token_id = [EOS, 0]
    generation = Generation(input_ids=torch.tensor([ids]), prompt_length=len(ids))
    assert padding(model, generation) == expected


def test_an_encoder_may_be_padded_behind_its_text() -> None:
    model = tiny_model("t5")
    encoded = Generation(
        input_ids=torch.tensor([[5, 6, 0], [5, 6, 7]]), attention_mask=torch.tensor([[1, 1, 0], [1, 1, 1]])
    )
    generation = Generation(input_ids=torch.zeros(2, 1, dtype=torch.long), prompt_length=1, encoded=encoded)
    for sequence, tokens in ((0, 2), (1, 3)):
        assert padding(model, generation, sequence) == (0, 0, 0, tokens)


def test_behind_the_prompt_nothing_is_padding() -> None:
    model = tiny_model("llama")
    found = recorded(model, "padding", "before:step", **ASKED)
    assert {key[1]: values["tokens"] for key, values in found.items() if not key[2]} == {0: 5, 1: 1, 2: 1, 3: 1}
    assert all(sum(values.values()) == values["tokens"] for values in found.values())


def test_what_a_place_does_not_have_is_no_number() -> None:
    model = tiny_model("mamba")
    found = recorded(model, "attention", "after:backbone.layers.0", condition=LISTENS, input_ids=PADDED[1:], **GREEDY)
    assert all(math.isnan(value) for values in found.values() for value in values.values())
