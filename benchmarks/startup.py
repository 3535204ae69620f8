"""From starting the adapter's process to its answer to `initialize`, over stdio as an editor does it."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from benchmarks.measure import Row, judged, ms, rounds

ADAPTERS = {"ours": "dap_server", "debugpy": "debugpy.adapter"}
BAR = 0.150
PATIENCE = 30.0
"""Seconds after which an adapter that does not answer is killed."""


def run(quick: bool) -> Iterator[Row]:
    times: dict[str, list[float]] = {name: [] for name in ADAPTERS}
    with tempfile.TemporaryDirectory() as folder:
        for i, name in rounds(ADAPTERS, 2 if quick else 16):
            seconds = _seconds_to_answer(ADAPTERS[name], _environment(folder))
            if i > 0:  # the first round compiles
                times[name].append(seconds)
    yield judged(
        "adapter process start to `initialize` response",
        _spread(times["ours"]),
        f"debugpy {_spread(times['debugpy'])}",
        f"< {ms(BAR)}",
        statistics.median(times["ours"]) < BAR,
    )


def _spread(seconds: list[float]) -> str:
    return f"{ms(statistics.median(seconds))} (best {ms(min(seconds))})"


def _environment(folder: str) -> dict[str, str]:
    """Compiled modules are kept in `folder`, whatever is the rule here; nobody measures coverage."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**given, "PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}


def _seconds_to_answer(module: str, environment: dict[str, str]) -> float:
    body = json.dumps({"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "any"}})
    command = [sys.executable, "-m", module, *(["adapter"] if module == "dap_server" else [])]
    pipe = subprocess.PIPE
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as adapter:
        guard = threading.Timer(PATIENCE, adapter.kill)
        guard.start()
        try:
            assert adapter.stdin
            assert adapter.stdout
            adapter.stdin.write(f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            adapter.stdin.flush()
            while (message := _read(adapter.stdout))["type"] != "response":
                pass  # debugpy says its version first
            seconds = time.perf_counter() - began
            assert message["success"], message
            adapter.stdin.close()
            adapter.wait(PATIENCE)
        finally:
            guard.cancel()
            adapter.kill()
    return seconds


def _read(stream: IO[bytes]) -> Any:
    name, _, length = stream.readline().partition(b": ")
    assert name == b"Content-Length", "the adapter went away instead of answering"
    stream.readline()
    return json.loads(stream.read(int(length)))
