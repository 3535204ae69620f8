import os
import signal
import sys
from typing import Any

import pytest

from dap_server.protocol.errors import Cancelled, RequestError
from dap_server.protocol.requests import EvaluateResponseBody
from dap_server.terminal.client import Client
from dap_server.terminal.errors import SessionEnded
from dap_server.wire.connection import ConnectionClosed
from dap_server.wire.reply import Reply
from tests.schema import validate
from tests.terminal.fake_adapter import FakeAdapter, Unanswered

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
"""A process that neither reads nor goes away."""
QUITTER = [sys.executable, "-c", "import sys; sys.exit(7)"]


def refuse(text: str) -> Any:
    def answer(_: object) -> None:
        raise RequestError(text)

    return answer


def test_a_request_carries_its_arguments_and_its_answer_is_decoded() -> None:
    with FakeAdapter(evaluate=lambda _: {"result": "2", "variablesReference": 0}) as fake:
        answer = fake.client.evaluate("1 + 1", frame_id=4)
        assert fake.arguments_of("evaluate") == {"expression": "1 + 1", "frameId": 4, "context": "repl"}
    assert answer == EvaluateResponseBody(result="2", variables_reference=0)


def test_a_refused_request_raises_what_the_adapter_said() -> None:
    with FakeAdapter(next=refuse("the model is {running}")) as fake, pytest.raises(RequestError) as error:
        fake.client.next()
    assert str(error.value) == "the model is {running}"


def test_an_interruption_cancels_the_request_that_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def later(_: object) -> None:
        raise Unanswered

    def interrupted(_reply: object, _timeout: object = None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with FakeAdapter(evaluate=later) as fake:
        monkeypatch.setattr(Reply, "result", interrupted)
        with pytest.raises(Cancelled):
            fake.client.evaluate("slow()", frame_id=4)
        fake.client.ask("next", {"threadId": 1})  # behind the cancel
        assert fake.arguments_of("cancel") == {"requestId": fake.unanswered[0].seq}


def test_events_wait_in_their_order_until_somebody_takes_them_by_name() -> None:
    with FakeAdapter() as fake:
        fake.event("output", output="a", category="stdout")
        fake.event("stopped", reason="step", threadId=1)
        fake.event("output", output="b", category="stdout")
        assert fake.client.wait_for("stopped").reason == "step"
        assert [fake.client.wait_for("output").output for _ in range(2)] == ["a", "b"]
        assert fake.client.output() == "ab"


def test_a_stop_that_overtakes_the_answer_is_not_lost() -> None:
    with FakeAdapter() as fake:

        def stop_first(_: object) -> None:
            fake.event("stopped", reason="step", threadId=3)

        fake.on("next", stop_first).on("continue", lambda _: {})
        fake.client.next()
        assert fake.client.wait_for_stop().reason == "step"
        assert fake.client.thread_id == 3
        fake.client.continue_()
        assert fake.arguments_of("continue") == {"threadId": 3}


def test_waiting_for_a_stop_tells_what_happened_instead() -> None:
    with FakeAdapter() as fake:
        fake.event("output", output="out of memory\n", category="stderr")
        fake.event("exited", exitCode=137)
        fake.event("terminated")
        with pytest.raises(SessionEnded, match=r"exited with 137\noutput so far:\nout of memory"):
            fake.client.wait_for_stop()
        assert fake.client.wait_for_end() == 137


def test_a_wait_ends_and_says_what_it_waited_for() -> None:
    with FakeAdapter() as fake, pytest.raises(TimeoutError, match=r"no 'stopped' within 0\.01 s"):
        fake.client.wait_for("stopped", timeout=0.01)


def test_the_end_of_the_connection_ends_every_wait() -> None:
    with FakeAdapter() as fake:
        fake.connection.close()
        with pytest.raises(SessionEnded, match="the connection ended before the 'stopped'"):
            fake.client.wait_for("stopped")
        with pytest.raises(ConnectionClosed):
            fake.client.threads()


def test_the_standard_sequence_sends_everything_in_the_order_of_the_specification() -> None:
    with FakeAdapter(setFunctionBreakpoints=lambda _: {"breakpoints": [{"verified": False}]}) as fake:

        def initialized(_: object) -> None:
            fake.event("initialized")

        fake.on("initialize", lambda _: {"supportsCancelRequest": True}).on("launch", initialized)
        fake.client.start(model="m", prompt="p", stop_at_end=False, breakpoints=["*.layers.3"])
        commands = [command for command, _ in fake.asked]
        assert commands == ["initialize", "launch", "setFunctionBreakpoints", "configurationDone"]
        assert fake.arguments_of("launch") == {"model": "m", "prompt": "p", "stopAtEnd": False}
        assert fake.client.capabilities.supports_cancel_request


def test_a_launch_that_fails_at_once_is_its_error_and_no_timeout() -> None:
    with (
        FakeAdapter(initialize=lambda _: {}, launch=refuse("'model' is missing")) as fake,
        pytest.raises(RequestError, match="'model' is missing"),
    ):
        fake.client.start(prompt="p")


def test_capabilities_that_change_are_merged() -> None:
    with FakeAdapter(initialize=lambda _: {"supportsCancelRequest": True, "supportsStepBack": True}) as fake:
        fake.client.initialize()
        fake.event("capabilities", capabilities={"supportsStepBack": False, "supportsGotoTargetsRequest": True})
        fake.client.wait_for("capabilities")
        now = fake.client.capabilities
        assert (now.supports_cancel_request, now.supports_step_back, now.supports_goto_targets_request) == (
            True,
            False,
            True,
        )


def test_a_process_for_the_terminal_is_started_and_ended_with_the_session() -> None:
    with FakeAdapter() as fake:
        arguments = {"args": [sys.executable, "-c", ""], "cwd": "", "env": {"PATH": None, "LLM": "1"}}
        answer = fake.ask("runInTerminal", arguments).result(10)
        assert b"processId" in bytes(answer)
        with pytest.raises(RequestError, match="cannot start"):
            fake.ask("runInTerminal", {"args": ["/does/not/exist"], "cwd": ""}).result(10)


def test_other_requests_of_the_adapter_are_refused() -> None:
    with FakeAdapter() as fake, pytest.raises(RequestError, match="does not know the request 'startDebugging'"):
        fake.ask("startDebugging", {"configuration": {}, "request": "launch"}).result(10)


def test_an_observer_sees_every_message_both_ways() -> None:
    seen: list[tuple[str, str]] = []

    def observe(direction: str, message: dict[str, Any]) -> None:
        validate(message, strict=True)
        seen.append((direction, message["type"]))

    with FakeAdapter(observe, threads=lambda _: {"threads": [{"id": 1, "name": "one"}]}) as fake:
        fake.event("initialized")
        fake.client.wait_for("initialized")
        assert [thread.name for thread in fake.client.threads()] == ["one"]
    assert seen[:3] == [("received", "event"), ("sent", "request"), ("received", "response")]


def test_what_an_observer_objects_to_is_raised_to_who_waits() -> None:
    def observe(_: str, message: dict[str, Any]) -> None:
        assert message.get("event") != "stopped", "no stops here"

    with FakeAdapter(observe) as fake:
        fake.event("stopped", reason="step")
        with pytest.raises(AssertionError, match="no stops here"):
            fake.client.wait_for("continued")


def test_an_event_that_does_not_fit_its_definition_is_raised_to_who_waits() -> None:
    seen: list[dict[str, Any]] = []
    with FakeAdapter(lambda _, message: seen.append(message)) as fake:
        fake.connection._observer = None  # the fake checks what it sends, and this is not to be sent
        fake.event("exited", exitCode="none")
        with pytest.raises(Exception, match=r"\$.exitCode"):
            fake.client.wait_for("exited")


def test_an_adapter_that_does_not_go_is_killed() -> None:
    client = Client.spawn(SLEEPER)
    pid = client.adapter_pid
    assert pid is not None
    client.close(grace=0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_exit_code_of_an_adapter_that_died_is_told() -> None:
    with Client.spawn(QUITTER) as client, pytest.raises(SessionEnded, match="the adapter exited with 7"):
        client.wait_for_stop()


def test_ctrl_c_in_the_terminal_does_not_reach_the_adapter() -> None:
    with Client.spawn(SLEEPER) as client:
        assert client.adapter_pid is not None
        assert os.getsid(client.adapter_pid) != os.getsid(0)
        os.kill(client.adapter_pid, signal.SIGTERM)
