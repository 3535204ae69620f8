"""Another prompt as an edit, over the wire, on the example model; what it makes against plain `generate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.e2e.plain import Choice, Plain
from tests.e2e.raw_client import Json, Refused, text, to_the_end

FRANCE, JAPAN = "The capital of France is", "The capital of Japan is"
SHORT = {"max_new_tokens": 8, "min_new_tokens": 8}
SAMPLED = {**SHORT, "do_sample": True, "temperature": 2.5}


def spec(prompt: str, **rest: Json) -> Json:
    return {"target": {"kind": "prompt"}, "change": {"kind": "set", "text": prompt}, **rest}


def test_another_prompt_is_written_in_the_console(run: Run, plain: Plain) -> None:
    """A branch of the same tree, which equals a fresh run; the first one is found again."""
    client = run("sample", prompt=FRANCE, generation=SAMPLED, seed=3)
    client.stop()
    first = to_the_end(client)
    assert first == plain.texts(FRANCE, seed=3, **SAMPLED)[0]
    body = client.ask("evaluate", expression=f"prompt = {JAPAN!r}", context="repl")
    assert body["result"] == f"1  prompt = {JAPAN!r}"
    stop = client.stop()
    assert (stop["reason"], stop["description"]) == ("goto", f"edited: prompt = {JAPAN!r}: step 0")
    assert client.evaluate("prompt", context="watch") == repr(JAPAN)
    second = to_the_end(client)
    assert second == plain.texts(JAPAN, seed=3, **SAMPLED)[0]
    told = client.ask("llm/branches")["branches"]
    assert [(b["id"], b["name"], b["prompt"], b["isPresent"], b["steps"]) for b in told] == [
        (1, "branch 1", FRANCE, False, 8),
        (2, f"branch 2: {JAPAN!r}", JAPAN, True, 8),
    ]
    assert (told[1]["parent"], told[1]["forkStep"]) == (1, 0)
    for id, name, expected in ((1, "branch 1", first), (2, told[1]["name"], second)):
        client.ask("llm/switchBranch", id=id)
        assert client.stop()["description"] == f"switched to {name}: end of the generation"
        assert text(client) == expected
    client.ask("llm/undoEdit")
    assert client.stop()["description"] == f"undone: prompt = {JAPAN!r}: end of the generation"
    assert text(client) == first
    assert client.ask("llm/edits")["edits"] == []
    client.ask("llm/deleteBranch", id=2)
    assert [branch["id"] for branch in client.ask("llm/branches")["branches"]] == [1]


def test_the_row_of_the_prompt_takes_another(run: Run, plain: Plain) -> None:
    client = run("model.layers.2", prompt=FRANCE, generation=SHORT)
    client.stop()
    (frame, *_) = client.frames()
    scopes = client.ask("scopes", frameId=frame["id"])["scopes"]
    (tokens,) = [scope for scope in scopes if scope["name"] == "Tokens"]
    assert client.scope("Tokens")["prompt"]["value"] == repr(FRANCE)
    reference = tokens["variablesReference"]
    body = client.ask("setVariable", variablesReference=reference, name="prompt", value=JAPAN)
    assert body["value"] == JAPAN  # no Python, so it is taken as it stands
    assert client.stop()["description"] == f"edited: prompt = {JAPAN!r}: before model.layers.2 in step 0"
    client.ask("setExpression", expression="prompt", value="prompt.replace('Japan', 'France')")
    client.stop()
    assert client.scope("Tokens")["prompt"]["value"] == repr(FRANCE)
    assert to_the_end(client) == plain.texts(FRANCE, **SHORT)[0]


def test_what_another_prompt_does_is_told_and_branches_of_two_are_compared(run: Run, plain: Plain) -> None:
    """Against distributions in float64: the first step beside each other, then every step along its own text."""
    options = {**SHORT, "output_logits": True, "return_dict_in_generate": True}
    france, japan = (plain.generate(prompt, **options).logits for prompt in (FRANCE, JAPAN))
    client = run(prompt=FRANCE, generation=SHORT)
    assert client.stop()["description"] == "generation finished"
    client.ask("llm/edit", edits=[spec(JAPAN)])
    client.stop()
    told = client.output("console")
    assert told.startswith("effect in step 0: ' Paris' 100.0% → ' Tokyo' 100.0% · KL ")
    assert "the residual stream is not compared: the positions of another prompt are others" in told
    to_the_end(client)
    body = client.ask("llm/compareBranches", a=1, b=2)
    assert (body["fork"], body["divergence"], body["positions"]) == (0, 0, [])
    assert body["problem"] == "the positions of another prompt are others"
    assert "movement" not in body
    assert len(body["steps"]) == 8
    for i, step in enumerate(body["steps"]):
        one, other = (Choice(logits[i][0]).probs for logits in (france, japan))
        assert step["logits"]["totalVariation"] == pytest.approx(abs(one - other).sum() / 2, abs=1e-6)
    assert [step["b"]["text"] for step in body["steps"]][:2] == [" Tokyo", "."]


def test_values_of_a_branch_with_another_prompt_are_patched_in(run: Run) -> None:
    client = run("after:model.layers.1", prompt=FRANCE, generation=SHORT)
    client.stop()
    first = client.evaluate("output[0, 4, :3].tolist()", context="watch")
    client.ask("llm/edit", edits=[spec(f"Yes. {JAPAN}")])
    client.stop()
    client.ask("evaluate", expression="patch(1, branch=1, positions=6, from_positions=4)", context="repl")
    client.stop()
    assert client.evaluate("output[0, 6, :3].tolist()", context="watch") == first


def test_a_saved_list_has_the_prompt(run: Run, plain: Plain, tmp_path: Path) -> None:
    file = str(tmp_path / "edits.json")
    client = run("sample", prompt=FRANCE, generation=SAMPLED, seed=3)
    client.stop()
    ban = {"target": {"kind": "logits"}, "change": {"kind": "ban", "tokens": [" Tokyo"]}}
    client.ask("llm/edit", edits=[spec(JAPAN), ban])
    client.stop()
    assert client.ask("llm/saveEdits", file=file) == {"file": file, "edits": 2}
    saved = to_the_end(client)
    assert saved.startswith(JAPAN)
    assert "Tokyo" not in saved
    client = run("sample", prompt=FRANCE, generation=SAMPLED, seed=3)
    client.stop()
    client.ask("llm/loadEdits", file=file)
    client.stop()
    assert to_the_end(client) == saved
    client.ask("llm/changeEdit", id=2, enabled=False)
    client.stop()
    assert to_the_end(client) == plain.texts(JAPAN, seed=3, **SAMPLED)[0]


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (spec(JAPAN, steps={"first": 2}), "all steps follow from the prompt: leave out its 'steps'"),
        ({"target": {"kind": "prompt"}, "change": {"kind": "set", "number": 1}}, "give its 'text'"),
        ({"target": {"kind": "prompt"}, "change": {"kind": "zero"}}, "'zero' is no change of the prompt"),
        ({"target": {"kind": "logits"}, "change": {"kind": "set", "text": "x"}}, "a prompt is set to a text"),
        ({"target": {"kind": "prompt", "sequences": [1]}, "change": {"kind": "set", "text": "x"}}, "no sequence 1"),
        ({"target": {"kind": "prompt", "path": "lm_head"}, "change": {"kind": "set", "text": "x"}}, "has no path"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_refused_and_nothing_has_changed(
    run: Run, plain: Plain, edit: Json, why: str
) -> None:
    client = run("sample", prompt=FRANCE, generation=SHORT)
    client.stop()
    with pytest.raises(Refused, match=why):
        client.ask("llm/edit", edits=[edit])
    with pytest.raises(Refused, match="a prompt is a text, and 3 is none: write it in quotes"):
        client.ask("evaluate", expression="prompt = 3", context="repl")
    assert client.ask("llm/edits")["edits"] == []
    assert to_the_end(client) == plain.texts(FRANCE, **SHORT)[0]


def test_one_text_of_a_batch_is_the_one_that_is_selected(run: Run, plain: Plain) -> None:
    client = run("sample", prompts=[FRANCE, "The"], generation=SHORT)
    client.stop()
    (frame, *_) = client.frames(thread=2)
    client.ask("setExpression", expression="prompt", value=repr(JAPAN), frameId=frame["id"])
    assert client.stop()["description"].startswith(f"edited: prompt of sequence 1 = {JAPAN!r}: ")
    names = [thread["name"] for thread in client.ask("threads")["threads"]]
    assert names == [f"sequence 1: {FRANCE}", f"sequence 2: {JAPAN}"]
    to_the_end(client)
    made = [client.ask("llm/generation", threadId=thread)["tokens"] for thread in (1, 2)]
    found = ["".join(token["text"] for token in tokens if not token.get("special")) for tokens in made]
    assert found == plain.texts(FRANCE, JAPAN, **SHORT)
