"""A program in a terminal of the editor: it reads what somebody types, and Ctrl+C ends it, also at a stop."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest

from tests.adapter.conftest import StartAdapter
from tests.adapter.peer import Adapter, Json
from tests.e2e.programs import line_of, path_of

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # pexpect forks, and tests have threads


class Terminal:
    """What an editor opens when it is asked to."""

    def __init__(self) -> None:
        self.screen: Any = None

    def open(self, request: Json) -> Json:
        assert request["command"] == "runInTerminal"
        command, *arguments = request["arguments"]["args"]
        env = {**os.environ, **request["arguments"]["env"]}
        cwd = request["arguments"]["cwd"] or None
        self.screen = pexpect.spawn(command, arguments, env=env, cwd=cwd, timeout=60, encoding="utf-8", echo=False)
        return {"processId": self.screen.pid}


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    yield opened
    if opened.screen is not None:
        opened.screen.close(force=True)


def in_terminal(start_adapter: StartAdapter, terminal: Terminal, name: str, *args: str, stops: str) -> Adapter:
    adapter = start_adapter()
    adapter.answer_reverse = terminal.open
    adapter.initialize(supportsRunInTerminalRequest=True)
    launch = {"program": path_of(name), "args": list(args), "console": "integratedTerminal"}
    assert adapter.answer(adapter.launch(launch, [stops]))["success"]
    return adapter


def test_a_program_reads_its_input_and_prints_where_it_was_started(
    start_adapter: StartAdapter, terminal: Terminal
) -> None:
    adapter = in_terminal(start_adapter, terminal, "reads_input.py", stops="*.layers.3")
    terminal.screen.expect("prompt> ")
    terminal.screen.sendline("The capital of France is")
    assert adapter.stop()["text"] == "before model.layers.3 in step 0"
    adapter.set_breakpoints()
    adapter.get("continue", {"threadId": 1})
    terminal.screen.expect("The capital of France is Paris")
    terminal.screen.expect("prompt> ")
    terminal.screen.sendeof()
    terminal.screen.expect("bye")
    assert adapter.end() == 0
    assert not adapter.output()


@pytest.mark.parametrize("stands", ["in a model", "at a line", "nowhere"])
def test_ctrl_c_interrupts_a_program_wherever_it_is(
    start_adapter: StartAdapter, terminal: Terminal, stands: str
) -> None:
    adapter = in_terminal(start_adapter, terminal, "endings.py", "waits", stops="1" if stands == "in a model" else "x")
    if stands == "at a line":
        line = {"line": line_of("endings.py", "time.sleep(0.01)")}
        adapter.get("setBreakpoints", {"source": {"path": path_of("endings.py")}, "breakpoints": [line]})
    if stands == "nowhere":
        terminal.screen.expect("waiting")
    else:
        adapter.stop()
    terminal.screen.sendintr()
    terminal.screen.expect("interrupted")
    terminal.screen.expect("tidied up")
    assert adapter.end() == 7
    assert len(adapter.events("continued")) == (stands != "nowhere")
