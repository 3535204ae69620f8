"""Filters of anomalies with the independent client: on the example model, healthy and with what was done to copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.e2e.conftest import Run, closing
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient
from tests.terminal.test_session import llm_dap

PROMPT = "The capital of France is"
WEIGHT, INDEX = "model.layers.4.mlp.down_proj", [7, 11]
BORN = f"after {WEIGHT} in step"
FEW = {"max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
FINISHED = "generation finished"


def copied(folder: Path, model: Path, damage: Callable[[dict[str, Tensor]], None], **configuration: Any) -> Path:
    """A copy of a model with other weights and another configuration."""
    shutil.copytree(model, folder)
    weights = load_file(folder / "model.safetensors")
    damage(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **configuration}))
    return folder


@pytest.fixture(scope="module")
def nan_model(example_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NaN in one weight of layer 4."""

    def damage(weights: dict[str, Tensor]) -> None:
        weights[f"{WEIGHT}.weight"][INDEX[0], INDEX[1]] = torch.nan

    return copied(tmp_path_factory.mktemp("models") / "nan", example_model, damage)


@pytest.fixture(scope="module")
def short_model(example_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its vocabulary ends before the last tokens of its tokenizer."""

    def damage(weights: dict[str, Tensor]) -> None:
        for name in [name for name, weight in weights.items() if weight.shape[0] > 2000]:
            weights[name] = weights[name][:300].clone()

    return copied(tmp_path_factory.mktemp("models") / "short", example_model, damage, vocab_size=300)


@pytest.fixture(scope="module")
def broken(nan_model: Path) -> Iterator[RawClient]:
    """A session on the model with NaN; every test begins its own run."""
    with closing(RawClient.spawn()) as client:
        client.response(client.begin(model=str(nan_model), prompt="one", stopOnEntry=True))
        client.stop()
        yield client


def arm(client: RawClient, *filters: str, **conditions: str) -> list[Json]:
    options = [{"filterId": name, "condition": condition} for name, condition in conditions.items()]
    body = client.ask("setExceptionBreakpoints", filters=list(filters), filterOptions=options)
    placed: list[Json] = body["breakpoints"]
    return placed


def begin(client: RawClient, model: Path, **configuration: Any) -> None:
    configuration = {"prompt": PROMPT, "generation": FEW, **configuration}
    client.restart([], model=str(model), **configuration)


def rest(client: RawClient) -> list[str]:
    """Goes on to the end, where the process stays for the next run; the texts of all stops before."""
    stops = []
    while (body := client.event("stopped", "exited")).get("description", FINISHED) != FINISHED:
        stops.append(body["text"])
        client.ask("continue", threadId=1)
    return stops


def test_what_filters_there_are_is_told_with_their_thresholds(broken: RawClient) -> None:
    filters = {f["filter"]: f for f in broken.capabilities["exceptionBreakpointFilters"]}
    assert [name for name, f in filters.items() if f["default"]] == ["nonFinite", "forwardError", "python.uncaught"]
    ours = [f for name, f in filters.items() if not name.startswith("python.")]
    assert all(f["supportsCondition"] and f["conditionDescription"] for f in ours)
    assert "count > 0" in filters["nonFinite"]["conditionDescription"]


def test_nan_in_one_weight_stops_there_before_the_token_is_shown(broken: RawClient, nan_model: Path) -> None:
    placed = arm(broken, "nonFinite", "forwardError")
    assert [b["verified"] for b in placed] == [True, True]
    begin(broken, nan_model)
    body = broken.stop()
    assert (body["reason"], body["text"], body["hitBreakpointIds"]) == ("exception", f"{BORN} 0", [placed[0]["id"]])
    assert broken.output() == PROMPT
    info = broken.ask("exceptionInfo", threadId=1)
    assert info["exceptionId"] == "nonFinite"
    assert info["breakMode"] == "always"
    assert WEIGHT in info["description"]
    named = " ".join([info["description"], *(inner["message"] for inner in info["details"]["innerException"])])
    assert f"{WEIGHT}.weight has NaN at {INDEX}" in named
    assert broken.place() == f"{WEIGHT} (after)"
    assert broken.move("continue")["text"] == f"{BORN} 1"
    arm(broken)
    broken.ask("continue", threadId=1)
    assert rest(broken) == []


def test_a_condition_sets_the_threshold_and_a_wrong_one_is_told_with_its_column(
    broken: RawClient, nan_model: Path
) -> None:
    arm(broken, nonFinite="nans > 3")
    begin(broken, nan_model)
    assert broken.stop()["text"] == f"{BORN} 0", "one for each of five tokens"
    (placed,) = arm(broken, nonFinite="nans > 1000000")
    assert placed["verified"]
    broken.ask("continue", threadId=1)
    assert rest(broken) == []
    (wrong,) = arm(broken, nonFinite="cuont > 3")
    assert not wrong["verified"]
    assert "did you mean 'count' or 'int'? (column 1)" in wrong["message"]
    (unknown,) = arm(broken, "nonfinite")
    assert not unknown["verified"]
    assert "nonfinite" in unknown["message"]
    arm(broken)


def test_going_back_to_it_and_from_it(broken: RawClient, nan_model: Path) -> None:
    arm(broken, "nonFinite")
    begin(broken, nan_model)
    assert broken.stop()["text"] == f"{BORN} 0"
    assert broken.move("continue")["text"] == f"{BORN} 1"
    back = broken.move("reverseContinue")
    assert (back["text"], back["reason"]) == (f"{BORN} 0", "exception")
    assert WEIGHT in broken.ask("exceptionInfo", threadId=1)["description"]
    assert broken.move("stepBack")["text"] == "before model.layers.4.mlp.down_proj in step 0"
    assert broken.move("continue")["text"] == f"{BORN} 0"
    frame = next(f for f in broken.frames() if f["name"].startswith("model.layers.4.mlp"))
    restarted = broken.ask("restartFrame", frameId=frame["id"])
    assert restarted == {}
    broken.stop()
    assert broken.move("continue")["text"] == f"{BORN} 0"
    broken.ask("llm/runToStep", step=2)
    assert broken.stop()["text"] == "step 2"
    assert broken.move("continue")["text"] == f"{BORN} 2"
    broken.ask("continue", threadId=1)
    assert rest(broken) == []


def test_beam_search_and_a_batch_stop_there_too(broken: RawClient, nan_model: Path) -> None:
    arm(broken, "nonFinite")
    begin(broken, nan_model, generation={**FEW, "num_beams": 2})
    assert broken.stop()["text"] == f"{BORN} 0"
    broken.restart([], model=str(nan_model), prompts=[PROMPT, "Paris"], generation=FEW)
    assert broken.stop()["text"] == f"{BORN} 0"
    arm(broken)
    broken.ask("continue", threadId=1)
    assert rest(broken) == []


def test_no_debug_never_stops(broken: RawClient, nan_model: Path) -> None:
    arm(broken, "nonFinite", "forwardError")
    begin(broken, nan_model, noDebug=True)
    assert rest(broken) == []


def test_an_exception_in_a_forward_stops_and_then_ends_the_process_as_it_does_without(short_model: Path) -> None:
    codes = []
    for filters in ([], ["forwardError"]):
        with closing(RawClient.spawn()) as client:
            launch = client.begin(model=str(short_model), prompt=PROMPT, stopOnEntry=True)
            client.response(launch)
            client.stop()
            arm(client, *filters)
            client.ask("continue", threadId=1)
            if filters:
                body = client.stop()
                assert (body["reason"], body["text"]) == ("exception", "before model.embed_tokens in step 0")
                info = client.ask("exceptionInfo", threadId=1)
                assert info["exceptionId"] == "IndexError"
                assert "model.embed_tokens (Embedding) in step 0" in info["description"]
                assert "Traceback" in info["details"]["stackTrace"]
                frames = client.frames()
                assert [f["name"] for f in frames[:2]] == ["model.embed_tokens (raised)", "Embedding.forward"]
                assert "Output" not in client.scopes(frames[0])
                assert "input" in client.scope("Locals", frames[1])
                client.ask("continue", threadId=1)
            codes.append(client.end())
            assert "IndexError" in client.output("stderr")
    assert codes[0] == codes[1] != 0


@pytest.fixture
def filtered(run: Run) -> Iterator[RawClient]:
    """The healthy model at its first step, with the filter that is on by default."""
    client = run("after:model.layers.2", prompt=PROMPT, generation=FEW)
    client.stop()
    client.break_at()
    client.ask("setExceptionBreakpoints", filters=["nonFinite"])
    yield client
    client.ask("setExceptionBreakpoints", filters=[])


def edited(client: RawClient, line: str) -> str:
    """Writes a line in the console; gives where the run stops then."""
    client.evaluate(line)
    place: str = client.stop()["text"]
    return place


def test_what_edits_made_is_told_once_where_it_came_into_being(filtered: RawClient) -> None:
    """And what those made that are undone is not known of the steps that run without them."""
    here = "after model.layers.2 in step 0"
    assert edited(filtered, "hidden[0, 3, 7] = float('nan')") == here
    assert filtered.move("continue")["text"] == "before sample in step 1", "in step 0 it stood where it is born"
    assert filtered.move("reverseContinue")["text"] == here
    for line, born in [
        ("scale('model.layers.3', 1e38)", "after model.layers.3 in step 0"),
        ("scale('model.layers.1.mlp', 1e38)", "after model.layers.1.mlp in step 0"),
        ("logits[0, 5] = float('nan')", "before sample in step 0"),
    ]:
        edited(filtered, "undo()")
        edited(filtered, line)
        assert filtered.move("continue")["text"] == born, line
        assert filtered.move("reverseContinue")["text"] == "step 0"


def test_a_healthy_run_stops_never(run: Run, plain: Plain) -> None:
    _healthy(run, plain, 60)


@pytest.mark.sweep
def test_a_healthy_run_of_two_thousand_tokens_stops_never(run: Run, plain: Plain) -> None:
    _healthy(run, plain, 2000)


def _healthy(run: Run, plain: Plain, tokens: int) -> None:
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": True}
    client = run(prompt=PROMPT, stopOnEntry=True, generation=options, seed=3)
    client.stop()
    try:
        arm(client, "nonFinite", "forwardError")
        client.ask("continue", threadId=1)
        assert client.stop(timeout=600)["description"] == FINISHED
        assert client.output() == plain.texts(PROMPT, seed=3, **options)[0] + "\n"
    finally:
        arm(client)


def test_the_terminal_stops_at_it_and_says_why(nan_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "commands"
    script.write_text("where\ncontinue\n")
    played = llm_dap("run", str(nan_model), "--prompt", PROMPT, "--max-new-tokens", "2", "--script", str(script))
    assert played.returncode == 0, played.stderr
    assert f"stopped after {WEIGHT} · step 0" in played.stdout
    assert f"{WEIGHT}.weight has NaN at {INDEX}" in played.stdout
