"""What is asked of debugpy, and when: the real one is in the end-to-end tests, here a peer stands in for it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dap_server.engine.program import python_debugger
from dap_server.engine.program.debugpy_peer import NoPythonDebugger
from dap_server.engine.program.import_watch import ImportWatch
from dap_server.engine.program.python_debugger import PythonDebugger
from dap_server.engine.program.python_lines import Line, LineState, count_anew, is_met

HERE = str(Path(__file__))


class Peer:
    """Verifies every line, one further down."""

    def __init__(self, told: Callable[[str, Any], None], gone: Callable[[], None]) -> None:
        self.told, self.gone = told, gone
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.is_tracing = True

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        self.asked.append((command, arguments))
        lines = arguments.get("breakpoints", [])
        return {"breakpoints": [{"id": i, "verified": True, "line": b["line"] + 1} for i, b in enumerate(lines)]}

    def trace(self, is_on: bool) -> None:
        self.is_tracing = is_on


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[Peer]:
    made: list[Peer] = []

    def make(told: Callable[[str, Any], None], gone: Callable[[], None]) -> Peer:
        made.append(Peer(told, gone))
        return made[-1]

    monkeypatch.setattr(python_debugger, "debugpy_of_process", make)
    return made


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def changed() -> list[LineState]:
    return []


@pytest.fixture
def debugger(said: list[str], changed: list[LineState]) -> PythonDebugger:
    return PythonDebugger(lambda _why, _frame: None, changed.append, said.append, lambda *_: None)


def test_nothing_is_imported_before_something_needs_it_and_nothing_is_traced_afterwards(
    debugger: PythonDebugger, peers: list[Peer]
) -> None:
    assert debugger.place([], {}) == []
    assert not peers
    assert debugger.place([Line(3, HERE, 10)], {}) == [LineState(3, True, 11)]
    (peer,) = peers
    assert [command for command, _ in peer.asked][:2] == ["attach", "configurationDone"]
    assert debugger.is_tracing
    debugger.place([], {})
    assert [debugger.is_tracing] == [False]
    assert debugger.place([], {4: "python.raised"}) == [LineState(4, True)]
    assert debugger.is_tracing
    assert peer.asked[-1] == ("setExceptionBreakpoints", {"filters": ["raised"]})
    assert len(peers) == 1, "one connection for the life of the process"


def test_a_file_with_a_line_counts_as_code_of_the_users(debugger: PythonDebugger, peers: list[Peer]) -> None:
    file = str(importlib.import_module("json").__file__)
    assert debugger.passes_over(file)
    debugger.place([Line(1, file, 1)], {})
    assert not debugger.passes_over(file)
    rules = [arguments["rules"] for command, arguments in peers[0].asked if command == "attach"]
    assert {"path": file, "include": True} in rules[-1]


def test_a_file_is_debugged_from_when_it_is_imported(
    debugger: PythonDebugger,
    peers: list[Peer],
    changed: list[LineState],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "imported_later.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (state,) = debugger.place([Line(7, str(tmp_path / "imported_later.py"), 1)], {})
    assert (state.is_verified, state.is_pending) == (False, True)
    assert not peers
    importlib.import_module("imported_later")
    assert changed == [LineState(7, True, 2)]
    assert peers[0].is_tracing
    assert not any(isinstance(finder, ImportWatch) and finder.is_waiting for finder in sys.meta_path)
    debugger.place([], {})
    del sys.modules["imported_later"]


def test_hits_count_where_the_condition_holds(debugger: PythonDebugger, peers: list[Peer]) -> None:
    debugger.place([Line(5, HERE, 1, "i > 1", ">= 2")], {})
    _, arguments = next(asked for asked in peers[0].asked if asked[0] == "setBreakpoints")
    (sent,) = arguments["breakpoints"]
    assert [eval(sent["condition"], {"i": i}) for i in (1, 2, 3, 4)] == [False, False, True, True]
    count_anew()
    assert [is_met(5), is_met(5)] == [False, True]


def test_what_cannot_be_is_said_of_each_line(
    debugger: PythonDebugger, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def refuse(*_: object) -> None:
        raise NoPythonDebugger("debugpy debugs this process already for another client")

    monkeypatch.setattr(python_debugger, "debugpy_of_process", refuse)
    (state,) = debugger.place([Line(1, HERE, 1)], {})
    assert state == LineState(1, False, None, "debugpy debugs this process already for another client")
    debugger.options.is_allowed = False
    (state,) = debugger.place([Line(1, HERE, 1)], {})
    assert state.message == python_debugger.OFF


def test_without_debugpy_the_session_goes_on(debugger: PythonDebugger, peers: list[Peer], said: list[str]) -> None:
    debugger.place([Line(1, HERE, 1)], {})
    peers[0].gone()
    assert said == ["debugpy has gone: lines of Python are not debugged any more\n"]
    assert not debugger.is_tracing
    debugger.detach()
