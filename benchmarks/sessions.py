"""Two debugging sessions of real processes at a breakpoint: ours in the example model, debugpy's in a script."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import ATLAS, debuggee
from dap_server.terminal.client import Client

LAUNCH: dict[str, Any] = {
    "model": str(ATLAS),
    "prompt": "The capital of France is",
    "generation": {"max_new_tokens": 64, "min_new_tokens": 64},
    "stop_at_end": False,
}


@contextlib.contextmanager
def both() -> Iterator[dict[str, Client]]:
    with ours() as mine, debugpys() as theirs:
        yield {"ours": mine, "debugpy": theirs}


@contextlib.contextmanager
def ours() -> Iterator[Client]:
    with Client.spawn() as client:
        client.start(breakpoints=["*.layers.*"], **LAUNCH)
        client.wait_for_stop()
        yield client


@contextlib.contextmanager
def at_a_line() -> Iterator[Client]:
    """Ours, in a program that stands at a line of Python."""
    program = str(Path(debuggee.__file__))
    with Client.spawn() as client:

        def configure() -> None:
            client.set_breakpoints(program, debuggee.LINE)

        client.begin(configure=configure, program=program).result(client.timeout)
        client.wait_for_stop()
        yield client


@contextlib.contextmanager
def debugpys() -> Iterator[Client]:
    program = str(Path(debuggee.__file__))
    with Client.spawn([sys.executable, "-m", "debugpy.adapter"]) as client:
        client.initialize(adapter_id="debugpy")
        launched = client.request("launch", {"request": "launch", "program": program, "console": "internalConsole"})
        client.wait_for("initialized", unless=launched)
        client.set_breakpoints(program, debuggee.LINE)
        client.configuration_done()
        launched.result(client.timeout)
        client.wait_for_stop()
        yield client
