"""The text as tokens, the values beside the lines of a map, and the status, against plain transformers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.e2e.conftest import Run
from tests.e2e.plain import Choice, Plain
from tests.e2e.raw_client import Json, RawClient, Refused

PROMPTS = ["The capital of", "one two three four"]
SAMPLED: dict[str, Any] = {"max_new_tokens": 4, "do_sample": True, "temperature": 1.3, "top_k": 40}


def at_the_end(run: Run, *breakpoints: str, **configuration: Any) -> RawClient:
    client = run(*breakpoints, **configuration)
    client.stop()
    return client


def top_frame(client: RawClient) -> int:
    return int(client.frames()[0]["id"])


def test_the_text_of_every_sequence_with_the_choice_of_every_token(run: Run, plain: Plain) -> None:
    asked = {"output_scores": True, "return_dict_in_generate": True}
    expected = plain.generate(*PROMPTS, seed=7, **SAMPLED, **asked)
    encoded = plain.encode(*PROMPTS)
    length = encoded["input_ids"].shape[1]

    client = at_the_end(run, prompts=PROMPTS, seed=7, generation=SAMPLED)
    for sequence in range(2):
        body = client.ask("llm/generation", threadId=sequence + 1, top=3)
        tokens: list[Json] = body["tokens"]
        assert [token["id"] for token in tokens] == expected.sequences[sequence].tolist()
        assert [token["position"] for token in tokens] == list(range(body["total"]))
        assert (body["promptLength"], body["steps"], body["isOver"], body["path"]) == (length, 4, True, "end")
        mask = encoded["attention_mask"][sequence].tolist()
        assert [not token.get("padding", False) for token in tokens[:length]] == [bool(m) for m in mask]
        for step, token in enumerate(tokens[length:]):
            choice = Choice(expected.scores[step][sequence])
            assert token["step"] == step
            assert token["probability"] == pytest.approx(choice.probs[token["id"]], rel=1e-5)
            assert token["entropy"] == pytest.approx(choice.entropy, rel=1e-9, abs=1e-12)
            best = choice.best(3)
            assert [a["id"] for a in token["alternatives"]] == best
            assert [a["probability"] for a in token["alternatives"]] == pytest.approx(choice.probs[best], rel=1e-9)


def test_a_page_of_a_text_costs_nothing_more_than_what_was_asked(run: Run, plain: Plain) -> None:
    expected = plain.generate("The capital of France is", max_new_tokens=6)[0].tolist()
    client = at_the_end(run, prompt="The capital of France is", generation={"max_new_tokens": 6})
    page = client.ask("llm/generation", start=4, count=4)
    assert [token["id"] for token in page["tokens"]] == expected[4:8]
    assert all("entropy" not in token and "alternatives" not in token for token in page["tokens"])
    assert client.ask("llm/generation", start=100, count=4)["tokens"] == []


def test_after_a_way_back_the_text_that_followed_is_still_told(run: Run, plain: Plain) -> None:
    expected = plain.generate("The capital of France is", max_new_tokens=6)[0].tolist()
    client = at_the_end(run, prompt="The capital of France is", generation={"max_new_tokens": 6})
    client.ask("llm/runToStep", step=2, path="sample")
    client.stop()
    body = client.ask("llm/generation", entropy=True)
    assert [token["id"] for token in body["tokens"]] == expected
    assert (body["step"], body["path"], body["steps"], body["isOver"]) == (2, "sample", 6, False)
    known = ["entropy" in token for token in body["tokens"][body["promptLength"] :]]
    assert known == [True, True, True, False, False, False]


def test_where_it_stands_among_the_layers_and_in_the_selection(run: Run) -> None:
    client = run("model.embed_tokens", prompt="one two", generation={"max_new_tokens": 2, "repetition_penalty": 1.5})
    client.stop()

    def standing() -> tuple[int | None, bool]:
        body = client.ask("llm/generation", count=0)
        assert (body["hasSelection"], body["tokens"]) == (True, [])
        return body.get("layer"), body.get("isSelecting", False)

    assert standing() == (None, False)
    places = {
        ("model.layers.0", "before"): (0, False),
        ("model.layers.2.self_attn", "after"): (2, False),
        ("model.norm", "before"): (5, False),
        ("model", "after"): (5, False),
        ("", "before"): (None, False),
        ("", "after"): (5, False),
        ("logits", "before"): (None, True),
        ("RepetitionPenaltyLogitsProcessor", "before"): (None, True),
        ("sample", "after"): (None, True),
        ("step", "before"): (None, False),
    }
    for (path, phase), expected in places.items():
        client.ask("llm/runToStep", step=0, path=path, phase=phase)
        client.stop()
        assert standing() == expected, (path, phase)


def test_a_thread_that_does_not_exist_is_refused(run: Run) -> None:
    client = at_the_end(run, "sample", prompt="one two")
    with pytest.raises(Refused, match="no thread 2"):
        client.ask("llm/generation", threadId=2)


def test_values_beside_the_lines_are_those_of_a_hook_and_of_the_lens(run: Run, plain: Plain) -> None:
    prompt = "The capital of France is"
    client = at_the_end(run, "*.layers.3.mlp", prompt=prompt)
    frame = top_frame(client)
    paths = [
        ".",
        "model.layers.0",
        "model.layers.2",
        "model.layers.3",
        "model.layers.3.mlp",
        "model.layers.4",
        "sample",
    ]

    at_once = client.ask("llm/inlineValues", frameId=frame, paths=paths)
    assert not at_once["isComplete"]
    running = {value["path"]: value for value in at_once["values"]}
    assert set(running) == {"model.layers.3", "model.layers.3.mlp"}, "the whole model is given ids, which have no norm"
    assert all(value["isInput"] for value in running.values())
    entering = plain.output_of("model.layers.2", prompt)[0, -1].double().norm()
    assert running["model.layers.3"]["norm"] == pytest.approx(float(entering), rel=1e-12)

    waited = client.ask("llm/inlineValues", frameId=frame, paths=paths, wait=True)
    assert waited["isComplete"]
    values = {value["path"]: value for value in waited["values"]}
    assert set(values) == {"model.layers.0", "model.layers.2", "model.layers.3", "model.layers.3.mlp"}
    for path in ("model.layers.0", "model.layers.2"):
        hidden = plain.output_of(path, prompt)[:, -1:]
        assert values[path]["norm"] == pytest.approx(float(hidden[0, -1].double().norm()), rel=1e-12)
        with torch.no_grad():
            said = plain.model.lm_head(plain.model.model.norm(hidden))[0, -1]
        assert values[path]["token"]["id"] == int(said.argmax())
    assert client.ask("llm/inlineValues", frameId=frame, paths=paths)["values"] == waited["values"], "it is kept"


def test_values_at_the_choice_of_a_token_and_of_an_earlier_step(run: Run) -> None:
    client = at_the_end(run, "sample", prompt="The capital of France is")
    frames = client.frames()
    here = client.ask("llm/inlineValues", frameId=frames[0]["id"], paths=["sample", "lm_head"], wait=True)
    values = {value["path"]: value for value in here["values"]}
    assert values["sample"]["token"]["text"] == " Paris"
    assert values["sample"]["probability"] == pytest.approx(0.99995, abs=1e-4)
    assert values["lm_head"]["norm"] > 0
    client.ask("continue", threadId=1)
    client.stop()
    past = next(frame for frame in client.frames() if frame["name"].startswith("step 0"))
    again = client.ask("llm/inlineValues", frameId=past["id"], paths=["sample", "lm_head"], wait=True)
    assert {value["path"]: value for value in again["values"]} == values


def test_what_a_panel_asks_of_another_step_is_that_step_of_the_same_sequence(run: Run) -> None:
    client = at_the_end(run, prompt="The capital of France is", generation={"max_new_tokens": 4})
    frames = client.frames()
    first = next(frame for frame in frames if frame["name"].startswith("step 0"))
    for command, extra in (("llm/sampling", {"top": 3}), ("llm/lens", {"top": 2}), ("llm/attention", {"layer": 2})):
        there = client.ask(command, frameId=first["id"], **extra)
        assert client.ask(command, frameId=frames[0]["id"], step=0, **extra) == there, command
    with pytest.raises(Refused, match="the run stands at step 3"):
        client.ask("llm/sampling", frameId=frames[0]["id"], step=9)


def test_the_status_says_what_runs_and_how_fast(run: Run, plain: Plain) -> None:
    client = at_the_end(run, prompt="one two three", generation={"max_new_tokens": 5})
    body = client.ask("llm/status")
    assert (body["model"], body["device"], body["dtype"]) == (type(plain.model).__name__, "cpu", "float32")
    assert body["parameters"] == sum(p.numel() for p in plain.model.parameters())
    assert body["steps"] == 5
    assert body["seconds"] > 0
    assert body["memory"] > body["parameters"] * 4
