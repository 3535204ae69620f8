"""Effects, branches beside each other and sweeps over the wire, against plain transformers with hooks of the test."""

from __future__ import annotations

import base64
import struct

import pytest
import torch
from torch import Tensor

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused

PROMPT = "The capital of France is"
OTHER = "The capital of Japan is"


def table(tile: Json) -> list[list[float]]:
    """A tile of float32, row by row."""
    data = base64.b64decode(tile["data"])
    rows, columns = tile["shape"]
    numbers = struct.unpack(f"<{rows * columns}f", data)
    return [list(numbers[i * columns : (i + 1) * columns]) for i in range(rows)]


def frame(client: RawClient) -> int:
    id: int = client.frames(levels=1)[0]["id"]
    return id


@torch.no_grad()
def patched(plain: Plain, layer: int, position: int) -> Tensor:
    """(V,) logits of the prompt with what a layer leaves at one position in the other text."""
    layers, seen = plain.model.model.layers, []
    handle = layers[layer].register_forward_hook(lambda _m, _a, out: seen.append(out[0, position].clone()))
    plain.model(**plain.encode(OTHER))
    handle.remove()

    def change(_module: object, _args: object, out: Tensor) -> Tensor:
        out = out.clone()
        out[0, position] = seen[0]
        return out

    handle = layers[layer].register_forward_hook(change)
    logits: Tensor = plain.model(**plain.encode(PROMPT)).logits[0, -1]
    handle.remove()
    return logits


def spec(kind: str, change: Json, **target: object) -> Json:
    return {"target": {"kind": kind, **target}, "change": change}


@torch.no_grad()
def step_of(plain: Plain, ids: Tensor, factor: float = 1.0) -> tuple[Tensor, list[Tensor]]:
    """(V,) logits behind a text (1, T), and the vector that every layer leaves there, with layer 3 scaled."""
    seen: list[Tensor] = []
    layers = plain.model.model.layers
    handles = [
        layers[3].register_forward_hook(lambda _m, _a, out: out * factor),
        *(layer.register_forward_hook(lambda _m, _a, out: seen.append(out[0, -1].double())) for layer in layers),
    ]
    logits: Tensor = plain.model(ids).logits[0, -1].double()
    for handle in handles:
        handle.remove()
    return logits, seen


def test_an_edit_is_answered_with_what_it_did(run: Run, plain: Plain) -> None:
    client = run("sample", prompt=PROMPT, generation={"max_new_tokens": 2})
    client.stop()
    scale = spec("module", {"kind": "scale", "number": -0.5}, path="model.layers.3")
    client.ask("llm/edit", edits=[scale])
    client.stop()
    body = client.ask("llm/editEffect")
    ids = plain.encode(PROMPT)["input_ids"]
    (old, before), (new, after) = step_of(plain, ids), step_of(plain, ids, -0.5)
    p, q = torch.softmax(old, -1), torch.softmax(new, -1)
    assert (body["ids"], body["step"], body["sequence"], body["reach"]) == ([1], 0, 0, "logits")
    assert body["logits"]["kl"] == pytest.approx(float((p * (p / q).log()).sum()), rel=1e-4)
    assert body["logits"]["totalVariation"] == pytest.approx(float((p - q).abs().sum() / 2), rel=1e-5)
    assert (body["before"]["id"], body["after"]["id"]) == (int(p.argmax()), int(q.argmax()))
    assert body["before"]["text"] == " Paris"
    assert [layer["path"] for layer in body["layers"]] == ["", *(f"model.layers.{i}" for i in range(6))]
    for layer, one, other in zip(body["layers"][1:], before, after, strict=True):
        assert layer["last"] == pytest.approx(float((other - one).norm() / one.norm()), rel=1e-4, abs=1e-12)
    assert body["layers"][4]["largest"] == pytest.approx(1.5)
    assert body["text"][0] in client.output("console")


def test_an_edit_that_does_nothing_says_so_in_the_console(run: Run) -> None:
    client = run("sample", prompt=PROMPT, generation={"max_new_tokens": 1})
    client.stop()
    client.ask("llm/edit", edits=[spec("module", {"kind": "scale", "number": 1.0}, path="model.layers.3")])
    client.stop()
    assert client.ask("llm/editEffect", ids=[1])["reach"] == "nothing"
    assert "effect in step 0: none, all that is compared is the same to the last bit" in client.output("console")


def test_branches_are_set_beside_each_other(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    client = run(prompt=PROMPT, generation=options)
    client.stop()
    first = client.ask("llm/generation")["tokens"]
    step = next(frame for frame in client.frames() if frame["name"].startswith("step 3"))
    force = spec("token", {"kind": "force", "tokens": [" Rome"]})
    client.ask("llm/edit", frameId=step["id"], edits=[force])
    client.stop()
    client.ask("continue", threadId=1)
    client.stop()
    second = client.ask("llm/generation")["tokens"]
    body = client.ask("llm/compareBranches", a=1, b=2)
    assert (body["fork"], body["divergence"]) == (3, 3)
    assert [one["step"] for one in body["steps"]] == [3, 4, 5]
    texts = [torch.tensor([[token["id"] for token in tokens]]) for tokens in (first, second)]
    assert body["steps"][0]["logits"]["same"]
    assert body["steps"][0]["b"]["text"] == " Rome"
    moved = table(body["movement"])
    start = len(plain.encode(PROMPT)["input_ids"][0])
    assert [one["position"] for one in body["positions"]] == [start + 2, start + 3, start + 4]
    for i, one in enumerate(body["steps"]):
        end = start + one["step"]
        (old, before), (new, after) = (step_of(plain, text[:, :end]) for text in texts)
        p, q = torch.softmax(old, -1), torch.softmax(new, -1)
        if not one["logits"]["same"]:
            assert one["logits"]["kl"] == pytest.approx(float((p * (p / q).log()).sum()), rel=2e-3)
        assert [one["a"]["id"], one["b"]["id"]] == [int(text[0, end]) for text in texts]
        for layer in range(6):
            expected = float((after[layer] - before[layer]).norm() / before[layer].norm())
            assert moved[layer + 1][i] == pytest.approx(expected, rel=1e-3, abs=1e-9)
        position = body["positions"][i]
        assert position["differs"] == (texts[0][0, end - 1] != texts[1][0, end - 1])
    assert client.ask("llm/generation")["tokens"] == second  # nothing has moved


def test_a_sweep_shows_where_the_fact_sits(run: Run, plain: Plain) -> None:
    client = run("sample", prompt=PROMPT, generation={"max_new_tokens": 2})
    client.stop()
    body = client.ask("llm/sweep", frameId=frame(client), source=OTHER)
    assert (body["target"]["text"], body["foil"]["text"]) == (" Tokyo", " Paris")
    assert [row["index"] for row in body["rows"]] == list(range(-1, 6))
    texts = [column["token"]["text"] for column in body["columns"]]
    assert texts == ["<s>", "The", " capital", " of", " France", " is"]
    country, last = texts.index(" France"), len(texts) - 1
    chance, recovered = table(body["probability"]), table(body["recovered"])
    says_tokyo = [[p > 0.5 for p in row] for row in chance]
    assert all(row[country] for row in says_tokyo[:4])  # early layers have it at the country
    assert not any(row[country] for row in says_tokyo[4:])
    assert all(row[last] for row in says_tokyo[4:])  # from some layer on it is where the answer is given
    assert not any(row[last] for row in says_tokyo[:4])
    assert not any(p for row in says_tokyo for i, p in enumerate(row) if i not in (country, last))  # and nowhere else
    assert recovered[0][country] == pytest.approx(1.0, abs=1e-4)
    assert recovered[-1][last] == pytest.approx(1.0, abs=1e-4)
    tokyo, paris = body["target"]["id"], body["foil"]["id"]
    for layer, position in ((0, country), (2, country), (3, last), (5, last), (1, 2)):
        logits = patched(plain, layer, position).double()
        assert chance[layer + 1][position] == pytest.approx(float(torch.softmax(logits, -1)[tokyo]), abs=1e-5)
        difference = table(body["difference"])[layer + 1][position]
        assert difference == pytest.approx(float(logits[tokyo] - logits[paris]), abs=1e-3)
    assert body["base"]["probability"] < 0.01 < 0.99 < body["source"]["probability"]


def test_a_sweep_leaves_the_run_as_it_is(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 4, "do_sample": True, "temperature": 1.5}
    client = run("sample", prompt=PROMPT, generation=options, seed=5)
    client.stop()
    client.ask("llm/sweep", frameId=frame(client), change="zero", layers=[1, 2], positions=[-1])
    client.ask("llm/sweep", frameId=frame(client), change="mean", modules="*.mlp", positions=[4])
    client.break_at()
    client.ask("continue", threadId=1)
    client.stop()
    tokens = client.ask("llm/generation")["tokens"]
    expected = plain.generate(PROMPT, seed=5, **options)
    assert [token["id"] for token in tokens] == expected[0].tolist()


def test_a_sweep_that_makes_no_sense_says_what_does(run: Run) -> None:
    client = run("sample", prompt=PROMPT, generation={"max_new_tokens": 1})
    client.stop()
    with pytest.raises(Refused, match="the other text has 8 tokens and this one 6") as error:
        client.ask("llm/sweep", frameId=frame(client), source="The capital city of old Japan is")
    assert error.value.id == 59
    with pytest.raises(Refused, match="a patch needs the text"):
        client.ask("llm/sweep", frameId=frame(client))
    with pytest.raises(Refused, match="an empty list of layers"):
        client.ask("llm/sweep", frameId=frame(client), change="zero", layers=[])
    with pytest.raises(Refused, match="there is no edit in force here"):
        client.ask("llm/editEffect")


def test_a_sweep_is_cancelled_and_the_run_goes_on(run: Run, plain: Plain) -> None:
    prompt = "The capital of France is Paris. " * 12 + PROMPT
    client = run("sample", prompt=prompt, generation={"max_new_tokens": 3})
    client.stop()
    sweep = client.send("llm/sweep", frameId=frame(client), change="zero")
    client.ask("cancel", requestId=sweep)
    with pytest.raises(Refused) as error:
        client.response(sweep)
    assert error.value.message == "cancelled"
    client.break_at()
    client.move("continue")
    tokens = client.ask("llm/generation")["tokens"]
    assert [token["id"] for token in tokens] == plain.generate(prompt, max_new_tokens=3)[0].tolist()
