"""`llm/attention` over the wire, against an eager run of plain transformers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, values

PROMPT = "The capital of France is"
COPYING = "Repeat: red lamp tree moon. Again:"


def numbers(tile: Json) -> Tensor:
    """The values of a tile, without any code of the adapter's."""
    raw = np.frombuffer(
        base64.b64decode(tile["data"]), f"<{ {'float32': 'f4', 'float16': 'f2', 'uint8': 'u1'}[tile['dtype']] }"
    )
    return torch.tensor(raw.astype(np.float64) * tile.get("scale", 1.0)).reshape(tile["shape"])


@pytest.fixture(scope="module")
def eager(example_model: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(example_model, attn_implementation="eager").eval()


@pytest.fixture
def at_sample(run: Run) -> RawClient:
    """Stands at the choice of the token behind the prompt."""
    client = run("sample", prompt=PROMPT)
    client.stop()
    return client


def look(client: RawClient, frame: Json | None = None, **options: Any) -> Json:
    frame = frame or client.frames(levels=1)[0]
    return client.ask("llm/attention", frameId=frame["id"], **options)


def test_a_tile_is_what_an_eager_run_returns(at_sample: RawClient, plain: Plain, eager: Any) -> None:
    with torch.no_grad():
        expected = eager(**plain.encode(PROMPT), output_attentions=True).attentions
    for layer, theirs in enumerate(expected):
        body = look(at_sample, layer=layer, dtype="float32")
        assert (body["step"], body["path"]) == (0, f"model.layers.{layer}")
        (call,) = body["calls"]
        assert (call["kind"], call["kernel"], call["source"]) == ("self", "sdpa", "AttentionInterface")
        assert call["path"] == f"model.layers.{layer}.self_attn"
        tokens = [plain.token(token) for token in plain.encode(PROMPT)["input_ids"][0].tolist()]
        assert call["queries"]["labels"] == call["keys"]["labels"] == tokens
        assert [head["head"] for head in call["heads"]] == list(range(6)) == list(range(call["headCount"]))
        for head in call["heads"]:
            difference = (numbers(head["tile"]) - theirs[0, head["head"]]).abs()
            assert difference[-1].max() < 1e-6, "of the last token"
            assert difference.max() < 5e-6, "SDPA and eager attention round differently, and layers add it up"


def test_the_last_token_alone_is_the_same_row(at_sample: RawClient) -> None:
    whole = look(at_sample, layer="model.layers.3.self_attn", dtype="float32")["calls"][0]
    last = whole["queries"]["end"] - 1
    part = look(at_sample, layer=3, dtype="float32", heads=[4, 1], queries={"start": last, "end": last + 1},
                keys={"start": 1, "end": 4})["calls"][0]  # fmt: skip
    assert (part["queries"]["start"], part["queries"]["labels"]) == (last, whole["queries"]["labels"][-1:])
    assert part["keys"]["labels"] == whole["keys"]["labels"][1:4]
    for head in part["heads"]:
        expected = numbers(whole["heads"][head["head"]]["tile"])[last:, 1:4]
        assert torch.allclose(numbers(head["tile"]), expected, atol=1e-6, rtol=0)
    assert [head["head"] for head in part["heads"]] == [4, 1]


@pytest.mark.parametrize(("dtype", "error"), [("float16", 5e-4), ("uint8", 3e-3)])
def test_smaller_numbers_are_near(at_sample: RawClient, dtype: str, error: float) -> None:
    exact = numbers(look(at_sample, layer=2, dtype="float32")["calls"][0]["heads"][1]["tile"])
    near = numbers(look(at_sample, layer=2, dtype=dtype)["calls"][0]["heads"][1]["tile"])
    assert (exact - near).abs().max() < error


def test_the_induction_heads_are_named_where_they_copy(run: Run) -> None:
    client = run("sample", prompt=COPYING, generation={"max_new_tokens": 6})
    client.stop()
    client.ask("llm/runToStep", step=2, path="sample")
    client.stop()
    kinds = {}
    for layer in range(6):
        for head in look(client, layer=layer)["calls"][0]["heads"]:
            kinds[layer, head["head"]] = head["kind"]
    for known in ((3, 4), (3, 3), (2, 1)):
        assert kinds[known] == "induction", kinds
    before = look(client, client.frames()[-2], layer=1)  # the frame of step 0, whose rows are many
    assert before["step"] == 0
    named = {head["head"]: head["kind"] for head in before["calls"][0]["heads"]}
    assert (named[1], named[2]) == ("previous token", "previous token")


def test_large_attention_is_made_smaller(at_sample: RawClient) -> None:
    exact = look(at_sample, layer=0, dtype="float32", heads=[2])["calls"][0]
    small = look(at_sample, layer=0, dtype="float32", heads=[2], maxCells=9)["calls"][0]
    tile, matrix = small["heads"][0]["tile"], numbers(exact["heads"][0]["tile"])
    assert (tile["shape"], tile["blocks"], tile["reduction"]) == ([3, 3], [2, 2], "maximum")
    assert (small["queries"]["block"], small["keys"]["labels"]) == (2, exact["keys"]["labels"][::2])
    expected = matrix.reshape(3, 2, 3, 2).amax((1, 3))
    assert torch.allclose(numbers(tile), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layer": 6}, "no layer 6: there are 0 to 5"),
        ({"layer": -1}, "no layer -1"),
        ({"layer": "model.layers"}, "a list of modules, which is not called itself"),
        ({"layer": "model.layer.3"}, "did you mean 'model.layers.3'"),
        ({}, r"in no layer: give one, 0 to 5 .* at `\$.layer`"),
        ({"layer": 1, "heads": [0, 6]}, "no head 6 in model.layers.1.self_attn: there are 0 to 5"),
        ({"layer": 1, "heads": []}, "an empty list of heads"),
        ({"layer": 1, "queries": {"start": 4, "end": 2}}, "`end` has to be larger"),
        ({"layer": 1, "queries": {"start": 0, "end": 7}}, "are from 0 up to, and without, 6"),
        ({"layer": 1, "maxCells": 5}, "maxCells 5 is less than one for each of 6 heads"),
    ],
    ids=str,
)
def test_absurd_requests_say_what_is_wrong(at_sample: RawClient, options: Json, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as refused:
        look(at_sample, **options)
    assert refused.value.id == 2


def test_the_prompt_has_no_attention_of_its_own(at_sample: RawClient) -> None:
    with pytest.raises(Refused, match="nothing runs in this frame"):
        look(at_sample, at_sample.frames()[-1], layer=1)


def test_beam_search_shows_attention_too(run: Run, plain: Plain, eager: Any) -> None:
    client = run("*.layers.3", prompt=PROMPT, generation={"num_beams": 3, "max_new_tokens": 3})
    client.stop()
    client.move("continue")
    heads = values(client.scope("Attention"))
    assert "self attention · sdpa · 6 heads · 1 × 7" in heads["call"]
    (call,) = look(client, dtype="float32")["calls"]
    assert call["queries"] == {"start": 6, "end": 7, "size": 1, "labels": call["queries"]["labels"]}
    with torch.no_grad():
        ids = plain.encode(PROMPT)
        first = eager.generate(
            **ids, num_beams=3, max_new_tokens=2, output_attentions=True, return_dict_in_generate=True
        )
    theirs = first.attentions[1][3]  # (beams, H, 1, S)
    for head in call["heads"]:
        assert (numbers(head["tile"]) - theirs[0, head["head"]]).abs().max() < 1e-5


def test_a_long_text_comes_as_a_small_answer(run: Run) -> None:
    client = run("*.layers.1", prompt=" ".join(["red lamp tree moon cup"] * 130), generation={"max_new_tokens": 1})
    client.stop()
    (call,) = look(client)["calls"]
    assert call["queries"]["size"] == call["keys"]["size"] > 600
    for head in call["heads"]:
        rows, columns = head["tile"]["shape"]
        assert rows * columns <= (1 << 16) // 6
        assert (len(call["queries"]["labels"]), len(call["keys"]["labels"])) == (rows, columns)
    assert len(json.dumps(call)) < 500_000
    last = call["queries"]["end"] - 1
    (row,) = look(client, queries={"start": last, "end": last + 1}, dtype="float32")["calls"]
    assert all(abs(float(numbers(head["tile"]).sum()) - 1) < 1e-5 for head in row["heads"])


@pytest.mark.parametrize(("leave_out", "key"), [("first", 0), (4, 4)])
def test_a_sink_can_be_left_out(at_sample: RawClient, leave_out: object, key: int) -> None:
    whole = look(at_sample, layer=3, dtype="float32")["calls"][0]
    part = look(at_sample, layer=3, dtype="float32", leaveOut=leave_out)["calls"][0]
    assert whole.get("start", 0) == 0
    for before, after in zip(whole["heads"], part["heads"], strict=True):
        rows = numbers(before["tile"]).double()
        rows[:, key] = 0
        expected = rows / rows.sum(dim=-1, keepdim=True)
        assert "leftOut" not in before
        assert after["leftOut"] == key
        assert torch.allclose(numbers(after["tile"]).double(), expected, atol=1e-5, rtol=0, equal_nan=True)
        assert (after["entropy"], after["scores"]) == (before["entropy"], before["scores"])
    assert key or numbers(part["heads"][0]["tile"])[0].isnan().all(), "the first token sees nothing but itself"


def test_what_a_head_gives_most_to_can_be_left_out(at_sample: RawClient) -> None:
    whole = look(at_sample, layer=4, dtype="float32")["calls"][0]
    part = look(at_sample, layer=4, dtype="float32", leaveOut="highest")["calls"][0]
    highest = [int(numbers(head["tile"]).sum(dim=0).argmax()) for head in whole["heads"]]
    assert [head["leftOut"] for head in part["heads"]] == highest
    for head in part["heads"]:
        assert numbers(head["tile"])[1:, head["leftOut"]].nan_to_num().abs().max() == 0
    with pytest.raises(Refused, match=r"no keys from 9 up to 10.* at `\$.leaveOut`"):
        look(at_sample, layer=4, leaveOut=9)
