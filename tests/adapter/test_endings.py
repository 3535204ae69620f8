"""However a session ends, it is said once and in order, and no process stays."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest

from tests.adapter.conftest import LAUNCH, StartAdapter
from tests.adapter.peer import SECONDS, Adapter, Json, error_of

Fake = Callable[[str], Json]


def test_a_run_ends_with_its_text_its_code_and_then_terminated(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.start(LAUNCH)
    assert adapter.end() == 0
    assert adapter.output().startswith("The capital of France is Paris")
    assert adapter.order("output", "exited", "terminated")[-3:] == ["output", "exited", "terminated"]
    assert "has ended" in adapter.error("continue", {"threadId": 1})
    assert adapter.get("threads")["threads"], "even now there is one"
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_terminate_ends_a_run_that_is_under_way(stopped: Adapter) -> None:
    run_on(stopped)
    stopped.get("terminate")
    assert stopped.end() == 0
    stopped.get("terminate")
    stopped.get("disconnect")
    assert stopped.exit_code() == 0


def test_disconnect_ends_the_model_at_a_stop(stopped: Adapter) -> None:
    stopped.get("disconnect", {"terminateDebuggee": True})
    assert stopped.engine.has_ended(0), "it is answered when the process is gone"
    assert stopped.exit_code() == 0


def test_a_model_that_is_left_alone_runs_to_its_end(stopped: Adapter) -> None:
    stopped.get("disconnect", {"terminateDebuggee": False})
    assert stopped.exit_code() == 0
    assert not stopped.engine.has_ended(0), "so many tokens take longer than that"
    assert stopped.engine.has_ended(SECONDS), "neither its breakpoint nor its end stops it"


def test_an_adapter_whose_input_closes_takes_the_model_along(stopped: Adapter) -> None:
    run_on(stopped)
    stopped.close_input()
    assert stopped.exit_code() == 0
    assert stopped.engine.has_ended()


def test_a_killed_adapter_takes_the_model_along(stopped: Adapter) -> None:
    stopped.process.kill()
    assert stopped.engine.has_ended()


def test_a_killed_model_is_named_so(stopped: Adapter) -> None:
    run_on(stopped)
    os.kill(stopped.engine.pid, signal.SIGKILL)
    assert stopped.end() == 137
    assert "was killed (SIGKILL): by hand, or by the system for want of memory" in stopped.output("important")


def test_a_model_that_raises_ends_with_its_traceback(stopped: Adapter) -> None:
    stopped.get("evaluate", {"expression": "setattr(model.model.layers[4], 'forward', lambda *a, **k: 1 / 0)"})
    stopped.get("continue", {"threadId": 1})
    assert stopped.end() == 1
    assert "ZeroDivisionError: division by zero" in stopped.output("important")
    assert "Traceback" in stopped.output("stderr")


def run_on(stopped: Adapter) -> None:
    """Has it run without a stop, far from its end."""
    stopped.set_breakpoints()
    stopped.get("continue", {"threadId": 1})
    stopped.event("output")


# While loading


def loading(start_adapter: StartAdapter) -> tuple[Adapter, int]:
    """An adapter whose engine has just begun to load, and the number of `launch`."""
    adapter = start_adapter()
    adapter.initialize()
    launched = adapter.launch(LAUNCH, ["*.layers.3"])
    adapter.event("progressUpdate")
    return adapter, launched


def test_a_cancelled_load_ends_quietly(start_adapter: StartAdapter) -> None:
    adapter, launched = loading(start_adapter)
    start, *_ = adapter.events("progressStart")
    assert start["cancellable"] is True
    assert "Loading" in start["title"]
    assert all(0 <= update["percentage"] <= 100 for update in adapter.events("progressUpdate"))
    adapter.get("cancel", {"progressId": start["progressId"]})
    assert adapter.answer(launched)["success"], "a failure would be a dialog"
    adapter.event("terminated")
    assert adapter.order("progressEnd", "launch", "terminated") == ["progressEnd", "launch", "terminated"]
    assert adapter.engine.has_ended()
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_cancelling_what_there_is_not_does_nothing(start_adapter: StartAdapter) -> None:
    adapter, _ = loading(start_adapter)
    adapter.get("cancel", {"progressId": "load-99"})
    adapter.get("cancel", {"requestId": 99})
    adapter.get("cancel")
    assert not adapter.events("progressEnd")


@pytest.mark.parametrize("command", ["terminate", "disconnect"])
def test_a_load_that_the_client_ends_is_no_failed_launch(start_adapter: StartAdapter, command: str) -> None:
    adapter, launched = loading(start_adapter)
    asked = adapter.send_valid(command)
    assert adapter.answer(launched)["success"]
    assert adapter.answer(asked)["success"]
    adapter.event("terminated")
    assert adapter.engine.has_ended()
    assert not adapter.events("exited")
    if command == "disconnect":
        assert adapter.exit_code() == 0


@pytest.mark.parametrize("end", [Adapter.close_input, lambda adapter: adapter.process.kill()], ids=["input", "kill"])
def test_the_end_of_the_adapter_ends_a_load(start_adapter: StartAdapter, end: Callable[[Adapter], None]) -> None:
    adapter, _ = loading(start_adapter)
    end(adapter)
    assert adapter.engine.has_ended()


def test_a_process_that_is_killed_while_it_loads_fails_the_launch(start_adapter: StartAdapter) -> None:
    adapter, launched = loading(start_adapter)
    os.kill(adapter.engine.pid, signal.SIGKILL)
    text = error_of(adapter.answer(launched))
    assert "was killed (SIGKILL)" in text
    assert "before the model was loaded" in text
    adapter.event("terminated")


# What a real engine does not do so readily


@pytest.mark.parametrize(
    ("behaviour", "code", "says"),
    [
        ("is killed while running", 137, "SIGKILL"),
        ("touches wrong memory", 139, "ended by the signal SIGSEGV"),
        ("aborts", 134, "ended by the signal SIGABRT"),
    ],
)
def test_a_signal_is_named(start_adapter: StartAdapter, fake: Fake, behaviour: str, code: int, says: str) -> None:
    adapter = start_adapter()
    adapter.start(fake(behaviour))
    assert adapter.end() == code
    assert says in adapter.output("important")


def test_a_process_that_is_killed_at_a_stop_answers_what_was_asked(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.start(fake("is killed at a stop"))
    adapter.stop()
    assert "ended before it answered" in adapter.error("pause", {"threadId": 1})
    assert adapter.end() == 137
    assert "has ended" in adapter.error("stackTrace", {"threadId": 1})


def test_what_is_under_way_when_the_process_goes_is_answered(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.start(fake("goes without an answer"))
    adapter.stop()
    asked = [adapter.send_valid("stackTrace", {"threadId": 1}) for _ in range(20)]
    assert adapter.end() == 0
    assert all("ended" in error_of(adapter.answer(seq)) for seq in asked)


def test_the_last_words_come_before_the_end(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.start(fake("has last words"))
    assert adapter.end() == 3
    assert adapter.output() == "".join(f"{i}\n" for i in range(3000))


@pytest.mark.parametrize("command", ["terminate", "disconnect"])
def test_a_model_that_does_not_go_is_killed(start_adapter: StartAdapter, fake: Fake, command: str) -> None:
    adapter = start_adapter()
    adapter.start(fake("deaf"))
    adapter.stop()
    adapter.get(command)
    assert adapter.end() == 137
    assert "did not end within 3 s: its process is killed" in adapter.output("console")
    assert not adapter.output("important"), "nobody wonders who has killed it"


def test_a_load_that_dies_says_so(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.initialize()
    assert "was killed (SIGKILL)" in error_of(adapter.answer(adapter.launch(fake("is killed while loading"))))
    adapter.event("terminated")


def test_a_python_without_us_is_named(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.initialize()
    configuration = fake("is no engine")
    text = error_of(adapter.answer(adapter.launch(configuration)))
    assert "ended with exit status 1" in text
    assert f"{configuration['python']} -m pip install llm-dap" in text
    assert "No module named dap_server" in adapter.output("stderr")
    adapter.event("terminated")


def test_a_process_that_never_connects_can_be_cancelled(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.initialize()
    launched = adapter.launch(fake("never connects"))
    adapter.get("disconnect")
    assert adapter.answer(launched)["success"]
    assert adapter.exit_code() == 0


def test_nonsense_of_an_engine_costs_nothing_else(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.start(fake("talks nonsense"))
    adapter.stop()
    assert adapter.get("threads")
    assert "the engine sent a wrong 'exited'" in adapter.said()
    adapter.get("terminate")
    assert adapter.end() == 0


def test_a_client_that_reads_no_more_and_closes_its_end_is_left(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.start(fake(""))
    adapter.stop()
    adapter.may_read.clear()
    for _ in range(3000):
        adapter.send("nonsense")
    adapter.close_input()
    assert adapter.exit_code() == 1
    assert adapter.engine.has_ended()


# In a terminal of the editor


def test_a_model_may_run_in_a_terminal_of_the_editor(start_adapter: StartAdapter) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def run_in_terminal(request: Json) -> Json:
        arguments = request["arguments"]
        assert arguments["kind"] == "integrated"
        env = {name: value for name, value in {**os.environ, **arguments["env"]}.items() if value is not None}
        started.append(subprocess.Popen(arguments["args"], env=env, stdout=subprocess.DEVNULL))
        return {"processId": started[0].pid}

    adapter = start_adapter()
    adapter.answer_reverse = run_in_terminal
    adapter.initialize(supportsRunInTerminalRequest=True)
    adapter.launch({**LAUNCH, "console": "integratedTerminal"}, ["*.layers.3"])
    adapter.stop()
    assert adapter.engine.pid == started[0].pid
    adapter.set_breakpoints()
    adapter.get("continue", {"threadId": 1})
    assert adapter.end() == 0
    assert started[0].wait(SECONDS) == 0
    assert adapter.output().startswith("The capital of France is Paris"), "the text is in the debug console too"


def test_a_client_that_opens_no_terminal_fails_the_launch(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.initialize(supportsRunInTerminalRequest=True)
    text = error_of(adapter.answer(adapter.send_valid("launch", {**LAUNCH, "console": "externalTerminal"})))
    assert "could not open a terminal: this client does not know runInTerminal" in text
    assert "'internalConsole'" in text
    adapter.event("terminated")
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_a_terminal_in_which_nothing_starts_can_be_left(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.answer_reverse = lambda request: {}
    adapter.initialize(supportsRunInTerminalRequest=True)
    launched = adapter.launch({**LAUNCH, "console": "integratedTerminal"})
    adapter.get("disconnect")
    assert adapter.answer(launched)["success"]
    assert adapter.exit_code() == 0
