"""The adapter process starts at once: `initialize` is answered before anything heavy is imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

HEAVY = {"asyncio", "debugpy", "lsprotocol", "numpy", "prompt_toolkit", "pygls", "rich", "torch", "transformers"}
GUARD = 1.5
"""Seconds, far above the 150 ms that the benchmark holds it to: a busy machine must not fail the tests."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
"""Coverage measures subprocesses, which costs start-up time and imports modules of its own."""


def initialize(*options: str) -> tuple[dict[str, Any], float, str]:
    """Starts an adapter over stdio as an editor does: its answer, the seconds until then, and its stderr."""
    body = json.dumps({"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "llm-dap"}})
    began = time.perf_counter()
    command = [sys.executable, *options, "-m", "dap_server", "adapter"]
    pipe = subprocess.PIPE
    with (
        tempfile.TemporaryFile() as stderr,  # a pipe that nobody reads would fill up
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=stderr, env=ENVIRONMENT) as adapter,
    ):
        try:
            assert adapter.stdin
            assert adapter.stdout
            adapter.stdin.write(f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            adapter.stdin.flush()
            header = adapter.stdout.readline() + adapter.stdout.readline()
            length = re.fullmatch(rb"Content-Length: (\d+)\r\n\r\n", header)
            answer = json.loads(adapter.stdout.read(int(length[1]))) if length else {"header": header}
            seconds = time.perf_counter() - began
            adapter.communicate(timeout=10)  # closes stdin, at which the adapter ends
        finally:
            adapter.kill()
        stderr.seek(0)
        return answer, seconds, stderr.read().decode()


def test_answers_initialize_soon() -> None:
    answer, seconds, stderr = min((initialize() for _ in range(5)), key=lambda run: run[1])
    assert answer.get("success"), f"{answer}\n{stderr}"
    assert answer["command"] == "initialize"
    assert answer["body"]["supportsConfigurationDoneRequest"] is True
    assert seconds < GUARD


def test_imports_nothing_heavy() -> None:
    answer, _, stderr = initialize("-X", "importtime")
    assert answer.get("success"), f"{answer}\n{stderr}"
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in stderr.splitlines() if "|" in line}
    assert "msgspec" in imported, "the list of imports has been read"
    assert not imported & HEAVY
