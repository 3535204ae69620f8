"""Data breakpoints over the wire: what can be watched, where it stops, and the way back to where a value changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Run, Spawn
from tests.e2e.raw_client import Json, RawClient

PROMPT = "The capital of France is"
FEW = {"max_new_tokens": 5, "min_new_tokens": 5}
DOWN = "model.layers.3.mlp.down_proj"
WEIGHT = f"parameter:{DOWN}.weight[0, 0]"

Begin = Callable[..., RawClient]


@pytest.fixture
def begin(run: Run, session: RawClient) -> Iterator[Begin]:
    """A run of some tokens that stands at its entry, with values that are watched: `begin({"dataId": …})`."""

    def start(*watched: Json, names: tuple[str, ...] = (), **generation: object) -> RawClient:
        client = run(prompt=PROMPT, stopOnEntry=True, seed=3, generation={**FEW, **generation})
        client.stop()
        client.break_at(*names)
        answer = client.ask("setDataBreakpoints", breakpoints=[{"accessType": "write", **one} for one in watched])
        assert [b["verified"] for b in answer["breakpoints"]] == [True] * len(watched), answer
        return client

    yield start
    session.ask("setDataBreakpoints", breakpoints=[])


def info(client: RawClient, parent: Json, name: str) -> Json:
    return client.ask("dataBreakpointInfo", variablesReference=parent["variablesReference"], name=name)


def test_a_value_is_watched_from_its_row_to_where_it_changed_and_back_again(begin: Begin) -> None:
    assert begin().capabilities["supportsDataBreakpoints"]
    client = begin(names=("model.layers.3.mlp",))
    assert client.move("continue")["text"] == "before model.layers.3.mlp in step 0"
    parameters = client.scope("Parameters")
    weight = client.open(parameters["down_proj"])["weight"]
    row = client.open(weight, filter="indexed", start=0, count=1)["[0]"]
    found = info(client, row, "[0]")
    assert found["dataId"] == WEIGHT
    assert (found["accessTypes"], found["canPersist"]) == (["write"], True)
    assert f"before and after {DOWN}" in found["description"]
    (answer,) = client.ask("setDataBreakpoints", breakpoints=[{"dataId": found["dataId"]}])["breakpoints"]
    assert answer["message"] == f"looked at when a step begins, before and after {DOWN}"
    was = float(client.evaluate("module.down_proj.weight[0, 0].item()"))
    client.evaluate("module.down_proj.weight.data[0, 0] = 2.5")
    try:
        client.break_at("step")
        body = client.move("continue")
        assert (body["reason"], body["hitBreakpointIds"]) == ("data breakpoint", [answer["id"]])
        change = f"{DOWN}.weight[0, 0]: {was:.6g} → 2.5 (last seen when the breakpoint was set)"
        assert body["description"] == f"data breakpoint: {change}"
        assert body["text"] == f"{change}, before {DOWN} in step 0"
        assert [client.move("continue")["text"] for _ in range(2)] == ["step 1", "step 2"]
        client.break_at()
        back = client.move("reverseContinue")
        assert (back["reason"], back["text"]) == ("data breakpoint", body["text"])
    finally:
        client.evaluate(f"model.get_submodule('{DOWN}').weight.data[0, 0] = {was!r}")


def test_going_back_finds_every_change_that_was_passed(begin: Begin) -> None:
    client = begin({"dataId": "activation:model.layers.2[0, -1]"}, {"dataId": "probability:' Paris'"})
    there = [client.move("continue")["text"] for _ in range(5)]
    assert [text.rpartition(", ")[2] for text in there] == [
        "after model.layers.2 in step 1",
        "before sample in step 1",
        "after model.layers.2 in step 2",
        "before sample in step 2",
        "after model.layers.2 in step 3",
    ]
    assert [client.move("reverseContinue")["text"] for _ in range(4)] == there[3::-1]
    assert [client.move("continue")["text"] for _ in range(4)] == there[1:]


def test_the_probability_of_a_token_stops_before_it_is_drawn(begin: Begin) -> None:
    client = begin({"dataId": "probability:' Paris'", "condition": "value > 0.5"})
    body = client.move("continue")
    assert body["text"].endswith(", before sample in step 0")
    assert body["text"].startswith("probability of ' Paris' is ")
    told = float(body["text"].partition(" is ")[2].partition(",")[0])
    sampling = client.scope("Sampling")
    assert float(sampling["probability"]["value"]) == pytest.approx(told, abs=1e-5)
    assert sampling["state"]["value"] == "will be chosen"
    client.ask("continue", threadId=1)
    assert client.stop()["description"] == "generation finished", "it does not turn true again"


def test_rows_lead_to_what_is_watched_or_say_why_not(begin: Begin) -> None:
    client = begin(names=("after:model.layers.4", "after:sample"), do_sample=True, temperature=0.7, top_k=20)
    client.move("continue")
    scopes = client.scopes()
    assert info(client, scopes["Output"], "output")["dataId"] == "activation:model.layers.4"
    assert info(client, scopes["Inputs"], "hidden_states")["dataId"] == "input:model.layers.4"
    assert info(client, scopes["Cache"], "keys")["dataId"] == "cache:4.keys"
    kept = client.open(scopes["Cache"])
    head = client.open(kept["keys"], filter="indexed", start=0, count=1)["[0]"]
    assert info(client, head, "[1]")["dataId"] == "cache:4.keys[0, 1]"
    position = client.open(kept["positions"], filter="indexed", start=2, count=1)["[2]"]
    assert info(client, position, "value")["dataId"] == "cache:4.values[0, :, 2]"
    axes = client.open(client.open(client.open(scopes["Output"])["output"], filter="named")["axes"])
    feature = client.open(axes["feature"], filter="indexed", start=7, count=1)["[7]"]
    assert info(client, axes["feature"], "[7]")["dataId"] == "activation:model.layers.4[:, :, 7]"
    assert info(client, feature, "[0]")["dataId"] == "activation:model.layers.4[:, :, 7][0]"
    for scope, name in (("Cache", "bytes"), ("Tokens", "[0]"), ("Inputs", "nothing")):
        refused = info(client, scopes[scope], name)
        assert refused["dataId"] is None
        assert "one can watch parameters and buffers" in refused["description"]
    client.move("continue")
    scopes = client.scopes()
    sampling = client.open(scopes["Sampling"])
    chosen = sampling["token"]["value"]
    assert info(client, scopes["Sampling"], "probability")["dataId"] == f"probability:{chosen}"
    second = client.open(sampling["top"])["[1]"]["value"].partition("  ")[0]
    assert info(client, sampling["top"], "[1]")["dataId"] == f"probability:{second}"
    chain = client.open(sampling["chain"])
    options = client.open(chain["TemperatureLogitsWarper"])["options"]
    assert info(client, options, "temperature")["dataId"] == "option:TemperatureLogitsWarper.temperature"
    assert info(client, scopes["Sampling"], "scores")["dataId"] is None


@pytest.mark.parametrize(
    ("name", "data_id"),
    [
        ("output[0, -1, 3]", "activation:model.layers.4[0, -1, 3]"),
        ("module.mlp.down_proj.weight[0][3]", "parameter:model.layers.4.mlp.down_proj.weight[0, 3]"),
        ("cache.layers[2].keys[0]", "cache:2.keys[0]"),
        (f"{DOWN}.weight[0, 0]", WEIGHT),
        ("model.layers.3.mlp", "activation:model.layers.3.mlp"),
        ("temperature", "option:temperature"),
        ("' Paris'", "probability:' Paris'"),
        (WEIGHT, WEIGHT),
    ],
)
def test_a_name_an_expression_or_a_data_id_says_it_too(begin: Begin, name: str, data_id: str) -> None:
    client = begin(names=("after:model.layers.4",))
    client.move("continue")
    frame = client.frames(levels=1)[0]["id"]
    assert client.ask("dataBreakpointInfo", name=name, frameId=frame)["dataId"] == data_id


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("output + 1", "no parameter, buffer, module or option 'output + 1'"),
        ("module", "one can watch parameters and buffers"),
        ("parameter:model.norm.wieght", "did you mean 'model.norm.weight'"),
        ("probability:'no such token at all'", "is no single token"),
        ("0x1234", "addresses are not watched here"),
    ],
)
def test_what_cannot_be_watched_is_told(begin: Begin, name: str, why: str) -> None:
    client = begin(names=("after:model.layers.4",))
    client.move("continue")
    more = {"asAddress": True} if name.startswith("0x") else {"frameId": client.frames(levels=1)[0]["id"]}
    answer = client.ask("dataBreakpointInfo", name=name, **more)
    assert answer["dataId"] is None
    assert why in answer["description"]


WRONG = ("not loaded", "(column 1)", "who reads a value is not seen", "is nothing to watch", "not loaded")


def test_they_wait_for_the_model_and_what_is_wrong_is_told_at_once(spawn: Spawn, example_model: Path) -> None:
    client = spawn()
    client.ask("initialize", adapterID="llm-dap", clientID="raw", pathFormat="path")
    launch = client.send("launch", model=str(example_model), prompt=PROMPT, generation=FEW, stopAtEnd=False)
    client.event("initialized")
    wanted = [
        {"dataId": "activation:model.layers.1[0, -1]", "condition": "change > 0", "hitCondition": "2"},
        {"dataId": "option:temperature", "condition": "chnge > 1"},
        {"dataId": "option:temperature", "accessType": "read"},
        {"dataId": "a[x]"},
        {"dataId": "parameter:model.norm.wieght"},
    ]
    placed = client.ask("setDataBreakpoints", breakpoints=wanted)["breakpoints"]
    assert [b["reason"] for b in placed] == ["pending", "failed", "failed", "failed", "pending"]
    for text, b in zip(WRONG, placed, strict=True):
        assert text in b["message"]
    client.ask("configurationDone")
    client.response(launch)
    assert client.stop()["text"].endswith("after model.layers.1 in step 2")
    states = [m["body"]["breakpoint"] for m in client.messages if m.get("event") == "breakpoint"]
    changed = {state["id"]: state for state in states}
    assert changed[placed[0]["id"]]["verified"]
    assert "did you mean 'model.norm.weight'" in changed[placed[4]["id"]]["message"]


def test_in_a_loop_that_is_not_ours_probabilities_are_not_seen(begin: Begin) -> None:
    client = begin(num_beams=2)
    wanted: list[Json] = [{"dataId": "probability:' Paris'"}]
    wanted.append({"dataId": "activation:model.layers.1[0, -1, 0]", "hitCondition": "1"})
    first, second = client.ask("setDataBreakpoints", breakpoints=wanted)["breakpoints"]
    assert not first["verified"]
    assert "does not tell when it is at 'sample'" in first["message"]
    assert second["verified"]
    assert client.move("continue")["text"].endswith("after model.layers.1 in step 1")
