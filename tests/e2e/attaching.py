"""Programs that listen, and editors that attach to them, as tests start them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.raw_client import TIMEOUT, Json, RawClient

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "programs"


class Program:
    """A process of which every line is kept as it comes."""

    def __init__(self, *command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
            cwd=cwd,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._is_over = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def line(self, pattern: str, after: int = 0) -> re.Match[str]:
        """The first line from that number on in which a pattern is found, once it is there."""

        def look() -> re.Match[str] | None:
            return next((found for line in self.lines[after:] if (found := re.search(pattern, line))), None)

        with self._news:
            self._news.wait_for(lambda: look() or self._is_over, TIMEOUT)
            found = look()
        assert found, f"no line with {pattern!r} in {''.join(self.lines)}"
        return found

    def debug_port(self) -> int:
        return int(self.line(r"llm-dap listens on [\d.]+:(\d+)")[1])

    def token(self) -> str:
        return self.line(r"with the token (\w+)")[1]

    def write(self, text: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self) -> int:
        """The exit status, once it has ended."""
        return self.process.wait(TIMEOUT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        self._thread.join(TIMEOUT)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()


@contextmanager
def running(*command: str, **options: Any) -> Iterator[Program]:
    program = Program(*command, **options)
    try:
        yield program
    finally:
        program.close()


class Server:
    """The example server, and what is asked of it."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.debug_port = program.debug_port()
        self._url = program.line(r"Uvicorn running on (http://\S+)")[1]
        self._threads = ThreadPoolExecutor(8)

    def generate(self, prompt: str, tokens: int) -> str:
        body = json.dumps({"prompt": prompt, "max_new_tokens": tokens}).encode()
        asked = urllib.request.Request(f"{self._url}/generate", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=TIMEOUT) as answer:
            text: str = json.load(answer)["text"]
        return text

    def sends(self, prompt: str, tokens: int) -> Future[str]:
        return self._threads.submit(self.generate, prompt, tokens)

    def busy(self) -> int:
        """How many requests are being worked on; asks what runs in the event loop."""
        with urllib.request.urlopen(f"{self._url}/health", timeout=TIMEOUT) as answer:
            count: int = json.load(answer)["busy"]
        return count

    def wait_for_busy(self, count: int) -> None:
        while self.busy() < count:
            pass

    def close(self) -> None:
        self._threads.shutdown()


def attach(client: RawClient, port: int, *breakpoints: str, **options: Any) -> None:
    """Begins a session in a program that listens; its models are debugged when this returns."""
    seq = begin_attach(client, {"port": port}, *breakpoints, **options)
    client.response(seq)
    finish_attach(client)


def finish_attach(client: RawClient) -> None:
    """Has sent the last breakpoint."""
    client.ask("configurationDone")
    wait_until_attached(client)


def wait_until_attached(client: RawClient) -> None:
    """From then on calls are debugged."""
    while "attached" not in client.event("output")["output"]:
        pass


def begin_attach(client: RawClient, connect: Json, *breakpoints: str, **options: Any) -> int:
    """The opening of a session, up to its last breakpoint; gives the number of the `attach`."""
    client.initialize()
    seq = client.send("attach", connect=connect, **options)
    client.event("initialized")
    client.break_at(*breakpoints)
    return seq
