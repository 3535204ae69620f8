"""Sweeps over the wire, against plain transformers with hooks of the test."""

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
