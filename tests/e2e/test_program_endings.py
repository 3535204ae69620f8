"""However a program ends, it ends as alone, and the session says so. Its children are left alone."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.e2e.conftest import Spawn
from tests.e2e.programs import alone, line_of, path_of
from tests.e2e.raw_client import Json, RawClient, Refused, names

ENDINGS = path_of("endings.py")
RAISED: list[Json] = [{"filterId": "forwardError"}, {"filterId": "python.uncaught"}]


def launched(spawn: Spawn, how: str, *breakpoints: str, **configuration: Any) -> RawClient:
    client = spawn()
    client.response(client.begin(list(breakpoints), program=ENDINGS, args=[how], **configuration))
    return client


def test_an_exception_in_a_forward_stops_with_its_modules_and_then_ends_the_program(spawn: Spawn) -> None:
    client = launched(spawn, "raises_in_forward", exceptions=RAISED)
    assert client.stop()["reason"] == "exception"
    stack = client.frames()
    assert stack[0]["line"] == line_of("endings.py", "raise ValueError")
    assert any(name.startswith("1") for name in names(stack)), "the module that it was raised in"
    assert {"Faulty.forward", "raises_in_forward", "<module>"} <= set(names(stack)), names(stack)
    assert "no idea what to do with (1, 1, 4)" in client.ask("exceptionInfo", threadId=1)["description"]
    client.ask("continue", threadId=1)
    assert client.end() == 1, "it is not told twice"
    assert "line {}, in fail\n".format(line_of("endings.py", "raise ValueError")) in client.output("stderr")
    assert "dap_server" not in client.output("stderr")
    assert client.output("console").endswith("the program ended with exit status 1\n")


def test_a_device_that_fails_stops_with_its_modules_and_nothing_runs_on_it_again(spawn: Spawn) -> None:
    client = spawn()
    client.response(client.begin(program=path_of("lost_device.py"), exceptions=[*RAISED, {"filterId": "nonFinite"}]))
    assert client.stop()["text"] == "before lookup in step 0"
    stack = client.frames()
    assert names(stack)[1:5] == ["lookup (raised)", "Lookup.forward", "Model", "Model.forward"]
    assert stack[2]["line"] == line_of("lost_device.py", "return self.table[ids]")
    assert stack[4]["line"] == line_of("lost_device.py", "return self.linear(")
    assert {"call", "main", "<module>"} <= set(names(stack)), names(stack)
    told = client.ask("exceptionInfo", threadId=1)
    assert told["description"].startswith("AcceleratorError in lookup (Lookup) in step 0: CUDA error: device-side")
    assert "dap_server" not in told["details"]["stackTrace"]

    ids = client.scope("Inputs", stack[1])["ids"]
    assert ids["value"] == "int64 [3] cpu"
    assert "device-side assert" in client.open(ids)["error"]["value"], "a row says it, and no request fails"
    with pytest.raises(Refused, match="device-side assert"):
        client.evaluate("ids.sum()", frameId=stack[2]["id"])
    for way in ("stepBack", "reverseContinue"):
        with pytest.raises(Refused, match="nothing runs any more on the device that has failed: start the program"):
            client.ask(way, threadId=1)
    with pytest.raises(Refused, match="start the program"):
        client.ask("restartFrame", frameId=stack[1]["id"])
    client.ask("continue", threadId=1)
    assert client.end() == 1, "it is not told twice"
    assert "dap_server" not in client.output("stderr")
    assert "During handling" not in client.output("stderr"), "of nothing but the program"


def test_a_program_that_catches_the_failure_of_a_device_goes_on_as_alone(spawn: Spawn) -> None:
    client = spawn()
    client.response(client.begin(program=path_of("lost_device.py"), args=["catches"], exceptions=RAISED))
    assert client.stop()["reason"] == "exception"
    client.ask("next", threadId=1)
    assert client.end() == 3
    assert client.output("stderr") == ""
    failed = "AcceleratorError CUDA error: device-side assert triggered\n"
    assert client.output().splitlines(keepends=True)[1:] == [failed, failed]


def test_an_exception_that_nobody_catches_stops_once_more_and_then_ends_the_program(spawn: Spawn) -> None:
    client = launched(spawn, "raises", exceptions=RAISED)
    assert client.stop()["reason"] == "exception"
    assert names(client.frames())[:2] == ["raises", "<module>"]
    client.ask("continue", threadId=1)
    assert client.end() == 1
    assert client.output("stderr").endswith("KeyError: 'outside of every model'\n")


def test_children_of_every_kind_go_on_by_themselves_and_disturb_nobody(spawn: Spawn) -> None:
    in_child = [line_of("endings.py", text) for text in ('print("child"', "sys.exit(6)", "return x * x")]
    lines = {ENDINGS: [{"line": line} for line in in_child]}
    client = launched(spawn, "has_children", "1", lines=lines)
    for _ in range(2):
        assert client.stop()["text"] == "before 1 in step 0", "the program itself, between its workers"
        assert "loads_with_workers" in names(client.frames())
        client.ask("continue", threadId=1)
    assert client.end() == 0
    assert client.output() == alone("endings.py", "has_children")
    assert not client.output("important")


def test_threads_and_exit_handlers_are_debugged_when_the_main_thread_is_over(spawn: Spawn) -> None:
    client = launched(spawn, "ends_late", "1")
    at_thread = client.stop()
    threads = {thread["id"]: thread["name"] for thread in client.ask("threads")["threads"]}
    assert threads[at_thread["threadId"]].startswith("late")
    assert client.output() == "main is over\n"
    client.ask("continue", threadId=at_thread["threadId"])
    at_exit = client.stop()
    assert "call" in names(client.frames(at_exit["threadId"]))
    client.ask("continue", threadId=at_exit["threadId"])
    assert client.end() == 0
    assert client.output() == alone("endings.py", "ends_late")


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("exits_at_once", 4, "the program ended with exit status 4\n"),
        ("calls_no_model", 0, "the program has ended without a call of a model\n"),
        ("closes_output", 0, ""),
    ],
)
def test_other_ends(spawn: Spawn, how: str, code: int, says: str) -> None:
    client = launched(spawn, how)
    assert client.end() == code
    assert client.output("console") == says
    assert client.output("stderr") == ""


def test_a_program_that_is_killed_at_a_stop_is_named_so(spawn: Spawn) -> None:
    client = launched(spawn, "waits", "1")
    client.stop()
    os.kill(client.event_so_far("process")["systemProcessId"], signal.SIGKILL)
    assert client.end() == 137
    assert "the program was killed (SIGKILL)" in client.output("important")


def test_terminate_lets_a_program_tidy_up_and_restart_starts_it_over(spawn: Spawn) -> None:
    client = launched(spawn, "waits", "1")
    client.stop()
    first = client.event_so_far("process")["systemProcessId"]
    client.ask("restart", arguments={"program": ENDINGS, "args": ["waits"]})
    client.stop()
    assert client.event_so_far("process")["systemProcessId"] != first
    assert client.output() == "waiting\ntidied up\nwaiting\n"
    client.ask("terminate")
    assert client.end() == 8
    assert client.output() == "waiting\ntidied up\n" * 2
