"""Conditions, hit conditions and log messages with the independent client, on the example model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run, Spawn
from tests.e2e.raw_client import Json, RawClient, Refused

PROMPT = "The capital of France is"
FEW = {"max_new_tokens": 6, "min_new_tokens": 6}


@pytest.fixture
def begin(run: Run) -> Any:
    """A run of some tokens that stands at its entry, with breakpoints: `begin({"name": …, "condition": …})`."""

    def start(*breakpoints: Json, prompts: list[str] | None = None, **generation: Any) -> RawClient:
        text = {"prompts": prompts} if prompts else {"prompt": PROMPT}
        client = run(**text, stopOnEntry=True, generation={**FEW, **generation})
        client.stop()
        client.ask("setFunctionBreakpoints", breakpoints=list(breakpoints))
        return client

    return start


def stops(client: RawClient) -> list[str]:
    """Runs to the end, where the process stays for the next run; the places of all stops before."""
    found = []
    while (body := client.move("continue"))["description"] != "generation finished":
        found.append(body["text"])
    return found


def first(client: RawClient) -> Json:
    return client.move("continue")


def test_a_run_stops_at_the_word_that_it_waits_for(begin: Any) -> None:
    client = begin({"name": "sample", "condition": "text == ' Paris'"})
    body = first(client)
    assert (body["reason"], body["text"], body["threadId"]) == ("function breakpoint", "after sample in step 0", 1)
    assert body["hitBreakpointIds"]
    assert client.scope("Sampling")["token"]["value"] == "' Paris'"


@pytest.mark.parametrize(
    ("condition", "steps"),
    [
        ("text == ' Paris'", [0]),
        ("prob < 0.1", []),
        ("entropy > 4", []),
        (r"re.search(r'Paris\.$', generated)", [1]),
        (r"re.fullmatch(r'\s*\w+\.?', generated)", [0, 1]),
        (r"re.search(r'paris\. the (\w+)$', generated, re.IGNORECASE)", [3]),
        ("generated.count(' ') >= 3", [3, 4, 5]),
    ],
)
def test_a_run_stops_at_tokens_and_at_what_the_text_says_so_far(begin: Any, condition: str, steps: list[int]) -> None:
    assert stops(begin({"name": "sample", "condition": condition})) == [f"after sample in step {i}" for i in steps]


def test_what_a_condition_says_is_what_the_console_says(begin: Any) -> None:
    client = begin({"name": "*.layers.*", "condition": "layer == 2 and norm > 0 and step == 1"})
    assert first(client)["text"] == "before model.layers.2 in step 1"
    norm = float(client.evaluate("norm"))
    here, above = norm * 0.999, norm * 1.001
    at = {"name": "*.layers.*", "condition": f"layer == 2 and step == 1 and {here} < norm < {above}"}
    assert first(begin(at))["text"] == "before model.layers.2 in step 1"
    entropy = {"name": "after:logits", "condition": "entropy > 1e-9"}
    client = begin(entropy)
    first(client)
    assert float(client.evaluate("entropy")) > 1e-9
    assert client.evaluate("top(2)[0][0]") == "' Paris'"
    assert "known at modules" in str(refused(client, "attention(0)"))


def refused(client: RawClient, expression: str) -> str:
    with pytest.raises(Refused) as error:
        client.evaluate(expression)
    return str(error.value)


def test_the_console_knows_and_offers_the_names_of_conditions(begin: Any) -> None:
    client = begin({"name": "after:*.layers.3.self_attn"}, {"name": "*.layers.2"})
    assert first(client)["text"] == "before model.layers.2 in step 0"
    assert client.evaluate("norm == residual[sequence, -1].double().norm().item()") == "True"
    lens = client.evaluate("lens(3)")
    assert lens.startswith("[' ")
    frame = client.frames(levels=1)[0]["id"]
    for typed, name in (("nor", "norm"), ("le", "lens"), ("resi", "residual"), ("att", "attention")):
        found = client.ask("completions", text=typed, column=len(typed) + 1, frameId=frame)["targets"]
        assert name in [target["label"] for target in found]
    assert not client.ask("completions", text="entr", column=5, frameId=frame)["targets"]
    assert float(client.evaluate("norm", context="hover")) > 0
    assert first(client)["text"] == "after model.layers.3.self_attn in step 0"
    assert client.evaluate("abs(attention(1).sum().item() - 1) < 1e-5") == "True"
    assert "entropy" not in client.evaluate("sorted(dir())")
    assert "no token is being chosen" in refused(client, "entropy")


def test_a_condition_that_raises_stops_once_and_is_switched_off(begin: Any) -> None:
    client = begin({"name": "*.layers.*", "condition": "1 / (layer - 2) < 2 and layer > 2"}, {"name": "logits"})
    body = first(client)
    if body["reason"] != "exception":
        body = client.move("continue")
    assert (body["reason"], body["text"]) == ("exception", "ZeroDivisionError: division by zero (column 1)")
    assert "1 / (layer - 2)" in body["description"]
    info = client.ask("exceptionInfo", threadId=1)
    assert (info["exceptionId"], info["breakMode"]) == ("ZeroDivisionError", "always")
    assert "before model.layers.2 in step 0" in info["description"]
    changed = next(m["body"] for m in reversed(client.messages) if m.get("event") == "breakpoint")
    assert changed["reason"] == "changed"
    assert not changed["breakpoint"]["verified"]
    assert "ZeroDivisionError" in changed["breakpoint"]["message"]
    assert stops(client) == [f"before logits in step {step}" for step in range(6)]


def test_exception_info_of_another_stop_is_an_error(begin: Any) -> None:
    client = begin()
    with pytest.raises(Refused, match="no exception"):
        client.ask("exceptionInfo", threadId=1)


def test_hits_are_counted(begin: Any) -> None:
    client = begin({"name": "*.layers.0", "hitCondition": "% 3"})
    assert stops(client) == ["before model.layers.0 in step 2", "before model.layers.0 in step 5"]


def test_a_restart_keeps_conditions_and_counts_from_the_beginning(begin: Any, example_model: Path) -> None:
    client = begin({"name": "*.layers.0", "hitCondition": "2", "condition": "step < 5"})
    assert first(client)["text"] == "before model.layers.0 in step 1"
    configuration = {"model": str(example_model), "prompt": PROMPT, "generation": FEW}
    client.ask("restart", arguments=configuration)
    assert client.stop()["text"] == "before model.layers.0 in step 1"


def test_going_back_leads_to_where_the_condition_held(begin: Any) -> None:
    client = begin(
        {"name": "*.layers.*", "condition": "layer == 3 and step % 2 == 1"},
        {"name": "sample", "condition": "step == 4"},
    )
    assert [first(client)["text"] for _ in range(3)] == [
        "before model.layers.3 in step 1",
        "before model.layers.3 in step 3",
        "before sample in step 4",
    ]
    assert client.move("reverseContinue")["text"] == "before model.layers.3 in step 3"
    assert client.move("reverseContinue")["text"] == "before model.layers.3 in step 1"
    assert client.move("reverseContinue")["reason"] == "entry"


def test_the_stop_is_in_the_thread_of_the_sequence(begin: Any) -> None:
    prompts = ["The capital of Italy is", PROMPT]
    client = begin({"name": "sample", "condition": "text == ' Paris'"}, prompts=prompts)
    body = first(client)
    assert (body["threadId"], body["text"]) == (2, "after sample in step 0")
    assert client.evaluate("sequence") == "1"


LINES = """# llm-dap map 1
# model: atlas
# class: LlamaForCausalLM
# task: causal

step                        the generation step
.                           LlamaForCausalLM
  model.layers.1            LlamaDecoderLayer
sample                      the choice of the token
"""


def test_log_messages_come_with_the_line_of_their_place(begin: Any, tmp_path: Path) -> None:
    file = tmp_path / "atlas.llmmap"
    file.write_text(LINES)
    client = begin()
    answer = client.ask(
        "setBreakpoints",
        source={"path": str(file)},
        breakpoints=[
            {"line": 8, "logMessage": "layer {layer}: {norm:.3f}", "condition": "step < 2"},
            {"line": 9, "logMessage": "token {text!r} {prob:.1%}", "hitCondition": "<= 2"},
        ],
    )
    assert [b["verified"] for b in answer["breakpoints"]] == [True, True], answer
    assert stops(client) == []
    said = [m["body"] for m in client.messages[client._run_began :] if m.get("event") == "output"]
    said = [body for body in said if body.get("category") == "console" and "source" in body]
    client.ask("setBreakpoints", source={"path": str(file)}, breakpoints=[])
    texts = [body["output"] for body in said]
    assert [text.partition(" ")[0] for text in texts] == ["layer", "token", "layer", "token"]
    assert texts[1].startswith("token ' Paris' ")
    assert {body["source"]["path"].rpartition(".")[2] for body in said} == {"llmmap"}
    lines = Path(said[0]["source"]["path"]).read_text().splitlines()
    assert [lines[body["line"] - 1].split()[0] for body in said[:2]] == ["model.layers.1", "sample"]


def test_a_wrong_condition_is_told_with_its_column(begin: Any) -> None:
    client = begin()
    wanted = [
        {"name": "sample", "condition": "token >> 'a' and tokn == 3"},
        {"name": "*.layers.0", "hitCondition": "x"},
    ]
    for breakpoint in client.ask("setFunctionBreakpoints", breakpoints=wanted)["breakpoints"]:
        assert not breakpoint["verified"]
        assert "(column " in breakpoint["message"]


def test_a_condition_without_an_end_holds_the_run_until_it_is_terminated(
    spawn: Spawn, example_model: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    os.mkfifo(begun)
    client = spawn()
    client.response(client.begin(model=str(example_model), prompt=PROMPT, stopOnEntry=True))
    client.stop()
    says_so = f"torch.save(step, {str(begun)!r}, _use_new_zipfile_serialization=False)"
    endless = {"name": "*.layers.0", "condition": f"{says_so} or sum(1 for _ in range(10**12)) > 0"}
    (answer,) = client.ask("setFunctionBreakpoints", breakpoints=[endless])["breakpoints"]
    assert answer["verified"], answer
    client.ask("continue", threadId=1)
    assert begun.read_bytes(), "the condition is being judged"
    client.ask("pause", threadId=1)
    client.ask("terminate")
    assert client.event("stopped", "exited")["event"] == "exited", "the pause has waited"
    assert "the model did not end within 3 s: its process is killed" in client.output("console")


def test_what_a_breakpoint_costs_a_token_stays_true_when_one_goes_back(begin: Any) -> None:
    """A condition on `sample` is judged once a token, in every token that is chosen again too."""
    client = begin({"name": "sample", "condition": "entropy > 99"})
    for _ in range(2):
        assert client.move("continue")["description"] == "generation finished"
        assert client.move("reverseContinue")["reason"] == "entry"
        costs = client.ask("llm/breakpointCosts")["breakpoints"]
        (cost,) = [cost for cost in costs if cost["name"] == "sample"]
        assert cost["perToken"] == pytest.approx(cost["seconds"] / cost["evaluations"])
