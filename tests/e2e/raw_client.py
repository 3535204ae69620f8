"""A DAP client in plain JSON that shares no code with the adapter, so that both cannot be wrong in the same way.

It starts a session in the order in which VS Code does, and holds every message against the specification's schema.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from tests.schema import validate

T = TypeVar("T")
Json = dict[str, Any]

TIMEOUT = 60.0
"""Of every wait, in seconds: an engine takes four to start, more on a busy machine."""


class Refused(Exception):
    """An error response."""

    def __init__(self, response: Json) -> None:
        error = response.get("body", {}).get("error", {})
        super().__init__(error.get("format") or response.get("message"))
        self.message: str | None = response.get("message")
        self.id: int | None = error.get("id")


def values(rows: dict[str, Json]) -> dict[str, str]:
    return {name: row["value"] for name, row in rows.items()}


def names(frames: list[Json]) -> list[str]:
    return [frame["name"] for frame in frames]


class RawClient:
    """One connection. A thread reads; every message of it stays in `messages`, in order of arrival."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO, first: int = 1) -> None:
        self.messages: list[Json] = []
        self.capabilities: Json = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._reader, self._writer = reader, writer
        self._seq = first - 1
        self._seen = 0
        """Events before this one have been waited for, or belong to an earlier run."""
        self._run_began = 0
        self._news = threading.Condition()
        self._is_closed = self._is_leaving = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name="raw client", daemon=True)
        self._thread.start()

    @classmethod
    def spawn(cls, first: int = 1) -> RawClient:
        """An adapter of its own over stdio. The messages to it are numbered from `first`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "dap_server", "adapter"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin
        assert process.stdout
        client = cls(process.stdout, process.stdin, first)  # type: ignore[arg-type]  # both are buffered binary streams
        client.process = process
        return client

    @classmethod
    def connect(cls, port: int) -> RawClient:
        """An adapter that listens."""
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
            connection.settimeout(None)
            return cls(connection.makefile("rb"), connection.makefile("wb"))

    # --- the protocol

    def send(self, command: str, **arguments: Any) -> int:
        """Sends a request without waiting; gives its number."""
        validate({"seq": max(self._seq + 1, 1), "type": "request", "command": command, "arguments": arguments})
        return self.send_unchecked(command, {"arguments": arguments})

    def send_unchecked(self, command: str, rest: Json) -> int:
        """Sends a request that need not be one by the specification, with these fields behind its command."""
        self._seq += 1
        self._is_leaving = self._is_leaving or command == "disconnect"
        message = {"seq": self._seq, "type": "request", "command": command, **rest}
        body = json.dumps(message).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self._writer.flush()
        return self._seq

    def response(self, seq: int, timeout: float = TIMEOUT) -> Json:
        """Waits for the answer to a request. Gives its body, empty when it has none; raises Refused."""

        def look() -> Json | None:
            return next((m for m in self.messages if m["type"] == "response" and m["request_seq"] == seq), None)

        answer = self._wait(look, f"answer to request {seq}", timeout)
        if not answer["success"]:
            raise Refused(answer)
        body: Json = answer.get("body", {})
        return body

    def ask(self, command: str, **arguments: Any) -> Json:
        return self.response(self.send(command, **arguments))

    def event(self, *names: str, timeout: float = TIMEOUT) -> Json:
        """Waits for the next event of these names; gives its body with its name as `event`."""

        def look() -> tuple[int, Json] | None:
            later = enumerate(self.messages[self._seen :], start=self._seen)
            return next(((i, m) for i, m in later if m["type"] == "event" and m["event"] in names), None)

        index, message = self._wait(look, f"event {' or '.join(names)}", timeout)
        self._seen = index + 1
        return {"event": message["event"], **message.get("body", {})}

    def event_so_far(self, name: str) -> Json:
        """The body of the last event of that name."""
        body: Json = next(m["body"] for m in reversed(self.messages) if m.get("event") == name)
        return body

    # --- sessions

    def initialize(self, **supported: bool) -> None:
        """Says what it is and what it takes."""
        self.capabilities = self.ask(
            "initialize",
            clientID="raw",
            adapterID="llm-dap",
            pathFormat="path",
            linesStartAt1=True,
            columnsStartAt1=True,
            supportsVariableType=True,
            **supported,
        )

    def begin(
        self,
        breakpoints: list[str] | None = None,
        instructions: list[Json] | None = None,
        lines: dict[str, list[Json]] | None = None,
        exceptions: list[Json] | None = None,
        **configuration: Any,
    ) -> int:
        """The opening of a session as VS Code plays it; gives the number of the `launch` that still loads.

        `lines` are breakpoints by the file that they stand in, `exceptions` the options of exception filters.
        """
        self.initialize(
            supportsVariablePaging=True,
            supportsProgressReporting=True,
            supportsInvalidatedEvent=True,
            supportsMemoryEvent=True,
        )
        launch = self.send("launch", **configuration)
        self.event("initialized")
        for path, wanted in (lines or {}).items():
            self.ask("setBreakpoints", source={"path": path}, breakpoints=wanted)
        self.break_at(*breakpoints or [])
        if exceptions is not None:
            self.ask("setExceptionBreakpoints", filters=[], filterOptions=exceptions)
        if instructions is not None:
            self.ask("setInstructionBreakpoints", breakpoints=instructions)
        self.ask("configurationDone")
        return launch

    def restart(self, breakpoints: list[str] | None = None, **configuration: Any) -> None:
        """The next run on the loaded model: only its events and its output are seen from here on."""
        self.break_at(*breakpoints or [])
        seq = self.send("restart", arguments=configuration)
        self.response(seq)
        self._run_began = self._seen = 1 + next(
            i for i, m in enumerate(self.messages) if m["type"] == "response" and m["request_seq"] == seq
        )  # no event of the new run comes before the answer

    def break_at(self, *names: str) -> list[Json]:
        body = self.ask("setFunctionBreakpoints", breakpoints=[{"name": name} for name in names])
        breakpoints: list[Json] = body["breakpoints"]
        return breakpoints

    def stop(self, timeout: float = TIMEOUT) -> Json:
        """Waits for the next stop; the end of the session instead is an error."""
        body = self.event("stopped", "terminated", timeout=timeout)
        assert body["event"] == "stopped", f"the session ended instead of stopping; output: {self.output('stderr')}"
        return body

    def move(self, command: str, **arguments: Any) -> Json:
        """Resumes with a request and waits for the next stop."""
        self.ask(command, threadId=1, **arguments)
        return self.stop()

    def end(self) -> int:
        """Waits for the debuggee's end and the session's; gives the exit code."""
        code: int = self.event("exited")["exitCode"]
        self.event("terminated")
        return code

    def output(self, category: str = "stdout") -> str:
        """What the present run has printed so far."""
        outputs = [m["body"] for m in self.messages[self._run_began :] if m.get("event") == "output"]
        return "".join(body["output"] for body in outputs if body.get("category", "console") == category)

    # --- looking

    def frames(self, thread: int = 1, **page: int) -> list[Json]:
        frames: list[Json] = self.ask("stackTrace", threadId=thread, **page)["stackFrames"]
        return frames

    def place(self) -> str:
        """The name of the top frame."""
        name: str = self.frames(levels=1)[0]["name"]
        return name

    def scopes(self, frame: Json | None = None) -> dict[str, Json]:
        frame = frame or self.frames(levels=1)[0]
        return {scope["name"]: scope for scope in self.ask("scopes", frameId=frame["id"])["scopes"]}

    def scope(self, name: str, frame: Json | None = None) -> dict[str, Json]:
        """The variables of a scope, of the top frame when none is given."""
        return self.open(self.scopes(frame)[name])

    def open(self, parent: Json, **page: Any) -> dict[str, Json]:
        """The children of a scope or variable by name."""
        assert parent["variablesReference"] > 0, f"{parent['name']} has no children"
        rows = self.ask("variables", variablesReference=parent["variablesReference"], **page)["variables"]
        assert len({row["name"] for row in rows}) == len(rows), "two children of one name"
        return {row["name"]: row for row in rows}

    def evaluate(self, expression: str, context: str = "repl", **arguments: Any) -> str:
        result: str = self.ask("evaluate", expression=expression, context=context, **arguments)["result"]
        return result

    def close(self) -> int | None:
        """Disconnects; gives the exit status of an adapter of our own."""
        try:
            if not (self._is_closed or self._is_leaving):
                self.ask("disconnect", terminateDebuggee=True)
        except (Refused, OSError):
            pass  # gone already
        finally:
            self._close_writer()
            status = self._end_process()
            self._thread.join(TIMEOUT)
            self._reader.close()
        self._raise_failure()
        return status

    def _close_writer(self) -> None:
        try:
            self._writer.close()
        except OSError:
            pass  # gone already

    def _end_process(self) -> int | None:
        if self.process is None:
            return None
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    # --- threads

    def _read(self) -> None:
        try:
            while (message := self._read_message()) is not None:
                validate(message, strict=True)
                with self._news:
                    self.messages.append(message)
                    self._news.notify_all()
        except BaseException as error:  # raised where the test waits
            self._failure = error
        with self._news:
            self._is_closed = True
            self._news.notify_all()

    def _read_message(self) -> Json | None:
        header = b""
        while not header.endswith(b"\r\n\r\n"):
            line = self._reader.readline()
            if not line:
                assert not header, f"the stream ended inside a header: {header!r}"
                return None
            header += line
        name, _, length = header.decode("ascii").strip().partition(": ")
        assert name == "Content-Length", header
        message: Json = json.loads(self._reader.read(int(length)))
        return message

    def _wait(self, look: Callable[[], T | None], what: str, timeout: float) -> T:
        deadline = time.monotonic() + timeout
        with self._news:
            while (found := look()) is None:
                self._raise_failure()
                tail = json.dumps(self.messages[-5:], indent=1)[-3000:]
                assert not self._is_closed, f"the connection ended before the {what}; last came {tail}"
                if not self._news.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise TimeoutError(f"no {what} within {timeout:g} s; last came {tail}")
            return found

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


def text(client: RawClient) -> str:
    """Prompt and continuation, as the session has them at the end of the run."""
    tokens = client.ask("llm/generation", threadId=1)["tokens"]
    return "".join(token["text"] for token in tokens if not token.get("special"))


def to_the_end(client: RawClient) -> str:
    """The same, without another stop on the way there."""
    client.break_at()
    assert client.move("continue")["description"] == "generation finished"
    return text(client)
