"""The adapter process starts at once: `initialize` is answered before anything heavy is imported."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from typing import Any

NEVER = {"asyncio", "debugpy", "lsprotocol", "numpy", "prompt_toolkit", "pygls", "rich", "torch", "transformers"}
WITH_THE_LAUNCH = {
    *("hmac", "secrets", "socket", "subprocess"),
    *("dap_server.adapter.backend", "dap_server.wire.loopback"),
    *("dap_server.adapter.breakpoints", "dap_server.conditions.deferred", "dap_server.conditions.expressions"),
    *("dap_server.modelmap.model_map", "dap_server.modelmap.reading"),
    *("dap_server.protocol.llm.tables", "dap_server.protocol.tables"),
}
"""What a model, its process or its breakpoints need: editors wait for the answer to `initialize`, and then load."""
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


def test_the_engine_connects_before_it_imports_torch() -> None:
    code = f"import sys, dap_server.engine.main; print(*{NEVER!r} & sys.modules.keys())"
    heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=ENVIRONMENT, text=True)
    assert heavy.stdout.split() == []


def test_imports_nothing_that_can_wait() -> None:
    answer, _, stderr = initialize("-X", "importtime")
    assert answer.get("success"), f"{answer}\n{stderr}"
    imported = {line.rpartition("|")[2].strip() for line in stderr.splitlines() if "|" in line}
    assert {"msgspec", "dap_server.adapter.session"} <= imported, "the list of imports has been read"
    assert not imported & (NEVER | WITH_THE_LAUNCH)


def test_what_can_wait_is_there() -> None:
    """A name that is no module's would be waited for in vain."""
    for name in sorted(WITH_THE_LAUNCH):
        assert find_spec(name) is not None, name
