"""Lens, residual stream and attribution over the wire, against plain transformers and arithmetic in float64."""

from __future__ import annotations

import copy
import re

import pytest
import torch
from torch import Tensor

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, values

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def double(plain: Plain) -> Plain:
    """The model in float64."""
    exact = copy.copy(plain)
    exact.model = copy.deepcopy(plain.model).double()
    return exact


@torch.no_grad()
def residuals(double: Plain, ids: Tensor) -> Tensor:
    """(L + 1, T, D) of a text (1, T), the last one before the final norm."""
    seen: list[Tensor] = []
    last = double.model.model.layers[-1]
    handle = last.register_forward_hook(lambda _m, _a, out: seen.append(out[0] if isinstance(out, tuple) else out))
    hidden = double.model(ids, output_hidden_states=True).hidden_states
    handle.remove()
    return torch.stack([*hidden[:-1], *seen])[:, 0]


@torch.no_grad()
def said(double: Plain, state: Tensor) -> Tensor:
    """(V,) probabilities by final norm and head."""
    probs: Tensor = torch.softmax(double.model.lm_head(double.model.model.norm(state)), dim=-1)
    return probs


def ask(client: RawClient, command: str, **arguments: object) -> Json:
    return client.ask(command, frameId=client.frames(levels=1)[0]["id"], **arguments)


def test_the_lens_shows_the_answer_rising_through_the_layers(run: Run, plain: Plain, double: Plain) -> None:
    paris = plain.tokenizer.encode(" Paris", add_special_tokens=False)[0]
    ids = plain.encode(PROMPT)["input_ids"]
    states = residuals(double, ids)[:, -1]
    client = run("sample", prompt=PROMPT)
    client.stop()
    body = ask(client, "llm/lens", watch=["' Paris'", paris], top=3)
    assert [layer["index"] for layer in body["layers"]] == list(range(-1, 6))
    (column,) = body["columns"]
    assert (column["position"], column["recomputed"]) == (ids.shape[1] - 1, False)
    assert column["token"] == {"id": int(ids[0, -1]), "text": " is"}
    ranks = []
    for i, cell in enumerate(column["cells"]):
        probs = said(double, states[i])
        by_text, by_id = cell["watched"]
        assert by_text == by_id
        assert (by_text["id"], by_text["text"]) == (paris, " Paris")
        assert by_text["probability"] == pytest.approx(float(probs[paris]), abs=1e-6)
        assert by_text["rank"] == int((probs > probs[paris]).sum()) + 1
        assert [one["id"] for one in cell["top"]] == probs.topk(3).indices.tolist()
        assert cell["norm"] == pytest.approx(float(states[i].norm()), rel=1e-5)
        assert cell["update"] == pytest.approx(float((states[i] - states[max(i - 1, 0)]).norm()), rel=1e-5, abs=1e-9)
        assert cell["cosine"] == pytest.approx(float(torch.cosine_similarity(states[i], states[-1], dim=0)), abs=1e-6)
        ranks.append(by_text["rank"])
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] > 100
    assert ranks[-1] == 1
    assert column["cells"][-1]["top"][0]["text"] == " Paris"


def test_a_table_over_many_positions_is_marked_unless_the_steps_run_again(
    run: Run, plain: Plain, double: Plain
) -> None:
    text = plain.generate(PROMPT, max_new_tokens=4)[:, :-1]
    states = residuals(double, text)
    positions = list(range(text.shape[1]))
    client = run("sample", prompt=PROMPT, generation={"max_new_tokens": 4})
    client.stop()
    for _ in range(3):
        client.move("continue")
    at_once = ask(client, "llm/lens", positions=positions)
    exact = ask(client, "llm/lens", positions=positions, exact=True, layers=[-1, 2, 5])
    assert [column["recomputed"] for column in at_once["columns"]] == [True] * (len(positions) - 1) + [False]
    assert not any(column["recomputed"] for column in exact["columns"])
    assert [column["token"]["id"] for column in exact["columns"]] == text[0].tolist()
    for position in positions:
        for place, cell in zip((0, 3, 6), exact["columns"][position]["cells"], strict=True):
            probs = said(double, states[place, position])
            assert cell["top"][0]["id"] == int(probs.argmax())
            assert cell["top"][0]["probability"] == pytest.approx(float(probs.max()), abs=1e-5)
            other = at_once["columns"][position]["cells"][place]["top"][0]
            assert other["logit"] == pytest.approx(cell["top"][0]["logit"], abs=1e-4)


@torch.no_grad()
def test_the_sum_of_direct_attributions_is_the_logit(run: Run, plain: Plain, double: Plain) -> None:
    ids = plain.encode(PROMPT)["input_ids"]
    paris = int(plain.generate(PROMPT, max_new_tokens=1)[0, -1])
    states, norm = residuals(double, ids)[:, -1], double.model.model.norm
    scale = (states[-1].square().mean() + norm.variance_epsilon).rsqrt()
    read = double.model.lm_head.weight[paris] * norm.weight * scale  # (D,)
    client = run("sample", prompt=PROMPT)
    client.stop()
    body = ask(client, "llm/attribution")
    assert body["token"] == {"id": paris, "text": " Paris"}
    assert body["logit"] == pytest.approx(float(plain.model(ids).logits[0, -1, paris]), abs=1e-5)
    total = sum(part["value"] for part in body["parts"])
    assert abs(total - body["logit"]) < 1e-4
    assert total + body["remainder"] == pytest.approx(body["logit"], abs=1e-9)
    embedding, *layers = body["parts"]
    assert embedding["value"] == pytest.approx(float(read @ states[0]), abs=1e-4)
    for i, layer in enumerate(layers):
        assert layer["name"] == f"model.layers.{i}"
        assert layer["value"] == pytest.approx(float(read @ (states[i + 1] - states[i])), abs=1e-4)
        attention, mlp = layer["parts"]
        assert (attention["kind"], mlp["kind"]) == ("attention", "module")
        assert attention["value"] + mlp["value"] == pytest.approx(layer["value"], abs=1e-4)
        assert [head["name"] for head in attention["parts"]] == [f"head {h}" for h in range(6)]
        assert sum(head["value"] for head in attention["parts"]) == pytest.approx(attention["value"], abs=1e-4)
    scope = values(client.scope("Attribution"))
    assert scope["token"] == "' Paris'"
    assert scope["model.layers.5"] == f"{layers[5]['value']:+.4f}"


def test_an_earlier_position_and_another_token_are_attributed_too(run: Run, plain: Plain) -> None:
    text = plain.generate(PROMPT, max_new_tokens=3)
    width = text.shape[1] - 3
    with torch.no_grad():
        logits = plain.model(text).logits[0]  # (T, V)
    rome = plain.tokenizer.encode(" Rome", add_special_tokens=False)[0]
    client = run("sample", prompt=PROMPT, generation={"max_new_tokens": 3})
    client.stop()
    client.move("continue")
    client.move("continue")
    for position in (2, width - 1, width, -1):
        body = ask(client, "llm/attribution", token="' Rome'", position=position, heads=False)
        at = body["position"]
        assert at == (position if position >= 0 else text.shape[1] - 2)
        assert body["logit"] == pytest.approx(float(logits[at, rome]), abs=1e-4)
        assert abs(body["remainder"]) < 1e-4


def test_what_cannot_be_asked_is_an_error_that_says_what_to_do(run: Run) -> None:
    client = run("sample", prompt=PROMPT)
    client.stop()
    for command, arguments, number, text in (
        ("llm/lens", {"watch": ["' Paris Texas'"]}, 53, "is no single token: it is ' Paris', "),
        ("llm/lens", {"watch": [99999]}, 53, "there is no token 99999: ids are 0 to"),
        ("llm/lens", {"positions": [6]}, 52, "no position 6 at this step: there are 0 to 5"),
        ("llm/lens", {"layers": [6]}, 52, "no layer 6: there are 0 to 5"),
        ("llm/lens", {"layers": []}, 2, "an empty list of layers: leave it out for all of them, at `$.layers`"),
        ("llm/attribution", {"token": "nothing like it"}, 53, "is no single token"),
        ("llm/attribution", {"position": -9}, 52, "no position -9"),
    ):
        with pytest.raises(Refused, match=re.escape(text)) as refused:
            ask(client, command, **arguments)
        assert refused.value.id == number


def test_padding_says_nothing_and_looking_changes_nothing(run: Run, plain: Plain) -> None:
    prompts = [PROMPT, "one"]
    expected = plain.texts(*prompts, max_new_tokens=3)
    client = run("sample", prompts=prompts, generation={"max_new_tokens": 3})
    client.stop()
    client.move("continue")
    frame = client.frames(thread=2, levels=1)[0]
    body = client.ask("llm/lens", frameId=frame["id"], positions=[0, -1])
    assert [column.get("padding", False) for column in body["columns"]] == [True, False]
    assert body["columns"][0]["cells"] == []
    with pytest.raises(Refused, match="position 0 is padding"):
        client.ask("llm/attribution", frameId=frame["id"], position=0)
    assert values(client.scope("Residual stream", frame))["model.layers.5"].endswith("cosine 1.0000")
    client.ask("setFunctionBreakpoints", breakpoints=[])
    client.move("continue")
    assert client.output() == f"{expected[0]}\n[sequence 2] {expected[1]}\n"
