"""`restart` begins again at once on the loaded model; another model is loaded anew. And how runs begin and end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.adapter.conftest import LAUNCH, LONG, StartAdapter
from tests.adapter.peer import Adapter, Json

ITALY = {**LAUNCH, "prompt": "The capital of Italy is", "stopAtEnd": True}


@pytest.fixture
def at_layer(shared: Adapter) -> Adapter:
    """Stopped in the first step, at a breakpoint."""
    shared.restart(LONG, "*.layers.3")
    assert shared.stop()["reason"] == "function breakpoint"
    return shared


def test_another_prompt_runs_on_the_loaded_model(at_layer: Adapter) -> None:
    engine, loads = at_layer.engine, len(at_layer.events("progressStart"))
    said = len(at_layer.output())
    at_layer.restart(ITALY)
    assert at_layer.stop()["description"] == "generation finished"
    assert at_layer.output()[said:].startswith("The capital of Italy is Rome")
    assert at_layer.engine is engine
    assert len(at_layer.events("progressStart")) == loads


def test_a_restart_at_a_stop_tells_that_the_stop_is_over(at_layer: Adapter) -> None:
    before = len(at_layer.events("continued"))
    at_layer.restart(ITALY)
    order = at_layer.order("stopped", "continued", "restart")
    answered = len(order) - order[::-1].index("restart")  # behind it the new run may have stopped already
    assert order[answered - 3 : answered] == ["stopped", "continued", "restart"]
    at_layer.stop()
    assert len(at_layer.events("continued")) == before + 1


def test_a_restart_while_running_needs_no_such_event(at_layer: Adapter) -> None:
    at_layer.set_breakpoints()
    before = len(at_layer.events("continued"))
    at_layer.get("continue", {"threadId": 1})
    at_layer.restart(ITALY)
    assert at_layer.stop()["description"] == "generation finished"
    assert len(at_layer.events("continued")) == before


def test_a_restart_at_the_end_begins_again(at_layer: Adapter) -> None:
    at_layer.restart(ITALY)
    assert at_layer.stop()["description"] == "generation finished"
    said = len(at_layer.output())
    at_layer.get("restart")
    assert at_layer.stop()["description"] == "generation finished"
    assert at_layer.output()[said:].startswith("The capital of Italy is Rome"), "the last configuration is kept"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"promt": "x"}, "did you mean 'prompt'"),
        ({"prompt": None}, "found none"),
        ({"generation": {"max_new_token": 5}}, "did you mean"),
        ({"generation": {"cache_implementation": "tape"}}, "generation: "),
        ({"prompt": None, "messages": [{"no": "role"}]}, "messages: "),
    ],
)
def test_wrong_options_leave_the_session_as_it_was(at_layer: Adapter, changes: Json, says: str) -> None:
    frame = at_layer.get("stackTrace", {"threadId": 1})["stackFrames"][0]
    before = len(at_layer.events("continued"))
    assert says in at_layer.error("restart", {"arguments": {**LONG, **changes}})
    assert at_layer.get("scopes", {"frameId": frame["id"]})["scopes"], "its references are still good"
    at_layer.get("next", {"threadId": 1})
    assert "layers.4" in at_layer.stop()["text"]
    assert len(at_layer.events("continued")) == before


def test_a_restart_without_pause_after_a_restart_runs_the_last(at_layer: Adapter) -> None:
    at_layer.set_breakpoints()
    prompts = [f"The capital of {country} is" for country in ("Spain", "Japan", "Italy")]
    asked = [at_layer.send_valid("restart", {"arguments": {**ITALY, "prompt": prompt}}) for prompt in prompts]
    assert all(at_layer.answer(seq)["success"] for seq in asked)
    at_layer.see_until(at_layer.answer(asked[-1]))
    assert at_layer.stop()["description"] == "generation finished"
    assert "The capital of Italy is Rome" in at_layer.output()


def test_a_run_can_stop_before_its_first_forward(at_layer: Adapter) -> None:
    at_layer.restart({**LONG, "stopOnEntry": True})
    assert at_layer.stop()["reason"] == "entry"


def test_a_run_can_be_paused_and_goes_on(at_layer: Adapter) -> None:
    at_layer.set_breakpoints()
    at_layer.get("continue", {"threadId": 1})
    at_layer.get("pause", {"threadId": 1})
    assert at_layer.stop()["reason"] == "pause"
    assert at_layer.get("stackTrace", {"threadId": 1})["stackFrames"]


def test_two_continues_at_once_are_one_and_an_error(at_layer: Adapter) -> None:
    first, second = (at_layer.send_valid("continue", {"threadId": 1}) for _ in range(2))
    assert at_layer.answer(first)["success"]
    answer = at_layer.answer(second)
    assert answer["success"] or answer["message"] in ("notStopped", "cancelled")
    at_layer.stop()


def test_breakpoints_of_any_moment_are_placed(at_layer: Adapter) -> None:
    states = at_layer.set_breakpoints("*.layers.3", "LlamaMLP", "*.layrs.3", "foo:x")
    assert [state["verified"] for state in states] == [True, True, False, False]
    assert all("message" in state for state in states[2:])
    again = at_layer.set_breakpoints("LlamaMLP")
    assert again[0]["id"] == states[1]["id"]


def test_a_run_without_debugging_does_not_stop_and_can_begin_again(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.start({**LAUNCH, "stopAtEnd": None, "stopOnEntry": True, "noDebug": True}, ["*.layers.3"])
    assert not any(body["breakpoint"]["verified"] for body in adapter.events("breakpoint"))
    assert adapter.end() == 0
    first = adapter.engine
    adapter.get("restart", {"arguments": {**LAUNCH, "dtype": "bfloat16"}})
    adapter.stop()
    assert adapter.engine is not first
    assert adapter.events("breakpoint")[-1]["breakpoint"]["verified"]
    assert "bfloat16" in adapter.get("evaluate", {"expression": "model.dtype"})["result"]
    adapter.get("terminate")
    assert adapter.end() == 0


@pytest.mark.parametrize("changes", [{"dtype": "bfloat16"}, {"model": "another"}, {"noDebug": True}], ids=str)
def test_another_model_is_loaded_anew(start_adapter: StartAdapter, fake: Callable[[str], Json], changes: Json) -> None:
    adapter = start_adapter()
    adapter.start(fake(""))
    adapter.stop()
    first = adapter.engine
    adapter.get("restart", {"arguments": {**fake(""), **changes}})
    adapter.stop()
    assert adapter.engine is not first
    assert first.has_ended()
    assert not adapter.events("exited"), "the session goes on"
    assert adapter.order("continued", "process", "restart")[-3:] == ["continued", "process", "restart"]


def test_a_restart_while_loading_loads_the_other(start_adapter: StartAdapter, fake: Callable[[str], Json]) -> None:
    adapter = start_adapter()
    adapter.initialize()
    launched = adapter.launch(fake("never connects"))
    adapter.get("restart", {"arguments": fake("")})
    assert adapter.answer(launched)["success"], "it is replaced, and no failure"
    adapter.stop()
    assert len(adapter.events("progressStart")) == len(adapter.events("progressEnd")) == 2
    assert not adapter.events("terminated")
