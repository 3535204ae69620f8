"""A real adapter process, and a client that can be as wrong as it likes. Every wait ends."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from tests.schema import validate

SECONDS = 45.0
"""How long anything is waited for: far longer than it takes on a machine that is not overloaded."""
GRACE = 10.0
"""How long an adapter may take to end, its engine included."""

Json = dict[str, Any]
T = TypeVar("T")


class Watched:
    """A process that is not our child, held by a descriptor so that its number cannot come to mean another one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = None
        if sys.platform == "linux":
            with suppress(ProcessLookupError):  # it has ended before its event was read
                self._descriptor = os.pidfd_open(pid)
        else:
            self._queue = select.kqueue()
            event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
            self._queue.control([event], 0)

    def has_ended(self, within: float = GRACE) -> bool:
        """Waits for its end, at most so many seconds."""
        if sys.platform == "linux":
            return self._descriptor is None or bool(select.select([self._descriptor], [], [], within)[0])
        else:  # noqa: RET505  # the type checker reads this as two platforms only so
            return bool(self._queue.control(None, 1, within))

    def close(self) -> None:
        if sys.platform == "linux":
            if self._descriptor is not None:
                os.close(self._descriptor)
        else:
            self._queue.close()


class Conversation:
    """What was said with an adapter over two byte streams. A thread reads; everybody may wait for what it read.

    Attributes:
        messages: all that the adapter sent, each held against the schema when it came.
        sent: how often each number was used for a request.
        engines: the processes that `process` events told of.
        answer_reverse: answers the adapter's own requests: a body, or an exception whose text is the error.
    """

    def __init__(self, reader: IO[bytes], writer: IO[bytes]) -> None:
        self.messages: list[Json] = []
        self.engines: list[Watched] = []
        self.answer_reverse: Callable[[Json], Json] = _refuse
        self.is_closed = False
        self.may_read = threading.Event()
        """Clear it to be a client that reads no more."""
        self.may_read.set()
        self._reader, self._writer = reader, writer
        self._changed = threading.Condition()
        self._problem: BaseException | None = None
        self.sent: Counter[int] = Counter()
        self._seq = 0
        self._seen = 0
        self._thread = threading.Thread(target=self._read, name="adapter reader", daemon=True)
        self._thread.start()

    # --- sending

    def send(self, command: str, arguments: Any = None, **envelope: Any) -> int:
        """Sends a request, a valid one unless `envelope` says otherwise, and gives its number."""
        self._seq += 1
        message = {"seq": self._seq, "type": "request", "command": command, **envelope}
        if arguments is not None:
            message["arguments"] = arguments
        self.sent[message["seq"]] += 1
        self.send_bytes(framed(json.dumps(message).encode()))
        return int(message["seq"])

    def send_valid(self, command: str, arguments: Any = None) -> int:
        message = {"seq": 1, "type": "request", "command": command}
        validate({**message, "arguments": arguments} if arguments is not None else message)
        return self.send(command, arguments)

    def send_bytes(self, data: bytes) -> None:
        with suppress(ConnectionError):  # the adapter may close: whoever waits for more is told
            self._writer.write(data)
            self._writer.flush()

    def close_input(self) -> None:
        with suppress(OSError):  # the adapter was faster
            self._writer.close()

    # --- receiving

    def answer(self, seq: int, seconds: float = SECONDS) -> Json:
        """The response to a request, waiting for it."""
        return self._wait(
            lambda: next((m for m in self.messages if m["type"] == "response" and m["request_seq"] == seq), None),
            seconds,
            f"answer to {seq}",
        )

    def ask(self, command: str, arguments: Any = None) -> Json:
        """Sends a valid request and waits for the response, whatever it says."""
        return self.answer(self.send_valid(command, arguments))

    def get(self, command: str, arguments: Any = None) -> Any:
        """The body of an answer that has to be a success."""
        response = self.ask(command, arguments)
        assert response["success"], response
        return response.get("body")

    def error(self, command: str, arguments: Any = None) -> str:
        """The text of an answer that has to be an error."""
        return error_of(self.ask(command, arguments))

    def event(self, *names: str, seconds: float = SECONDS) -> Json:
        """The next event of one of these names, and everything before it counts as seen."""

        def look() -> Json | None:
            for i in range(self._seen, len(self.messages)):
                if self.messages[i].get("event") in names:
                    self._seen = i + 1
                    return self.messages[i]
            return None

        return self._wait(look, seconds, " or ".join(names))

    def see_until(self, message: Json) -> None:
        """Everything up to this message counts as seen."""
        self._seen = self.messages.index(message) + 1

    def events(self, name: str) -> list[Json]:
        """The bodies of all events of that name so far."""
        return [message.get("body", {}) for message in self.messages if message.get("event") == name]

    def order(self, *kinds: str) -> list[str]:
        """The names of events and of answered commands so far, in their order, of these kinds."""
        names = [message.get("event") or message.get("command") or "" for message in self.messages]
        return [name for name in names if name in kinds]

    def output(self, category: str = "stdout") -> str:
        return "".join(body["output"] for body in self.events("output") if body.get("category") == category)

    def closed(self, seconds: float = SECONDS) -> None:
        """Waits until the adapter closes its side."""
        self._wait(lambda: self.is_closed or None, seconds, "end of the connection")

    # --- whole pieces of a session

    def initialize(self, **changes: Any) -> Json:
        body: Json = self.get("initialize", {"adapterID": "llm-dap", "supportsProgressReporting": True, **changes})
        return body

    def launch(self, configuration: Json, breakpoints: list[str] | None = None) -> int:
        """Everything up to `configurationDone`; gives the number of the `launch` request, not answered yet."""
        launched = self.send_valid("launch", configuration)
        self.event("initialized")
        self.set_breakpoints(*breakpoints or [])
        self.get("configurationDone")
        return launched

    def start(self, configuration: Json, breakpoints: list[str] | None = None) -> None:
        """A session up to a loaded model."""
        self.initialize()
        response = self.answer(self.launch(configuration, breakpoints))
        assert response["success"], response

    def set_breakpoints(self, *names: str) -> list[Json]:
        body = self.get("setFunctionBreakpoints", {"breakpoints": [{"name": name} for name in names]})
        breakpoints: list[Json] = body["breakpoints"]
        return breakpoints

    def restart(self, configuration: Json, *breakpoints: str) -> None:
        """Begins again. What came before counts as seen."""
        self.set_breakpoints(*breakpoints)
        response = self.ask("restart", {"arguments": configuration})
        assert response["success"], response
        self.see_until(response)

    def stop(self) -> Json:
        """The next stop, which nothing else may come before."""
        event = self.event("stopped", "exited", "terminated")
        assert event["event"] == "stopped", (event, self.output("stderr"))
        body: Json = event["body"]
        return body

    def end(self) -> int:
        """The exit code, with both events of an end."""
        event = self.event("stopped", "exited")
        assert event["event"] == "exited", event
        self.event("terminated")
        return int(event["body"]["exitCode"])

    @property
    def engine(self) -> Watched:
        """The present process of the model, once it is connected."""
        return self._wait(lambda: self.engines[-1] if self.engines else None, SECONDS, "process event")

    def _wait(self, look: Callable[[], T | None], seconds: float, what: str) -> T:
        deadline = time.monotonic() + seconds
        with self._changed:
            while (found := look()) is None:
                if self._problem is not None:
                    raise AssertionError("the adapter sent something wrong") from self._problem
                left = deadline - time.monotonic()
                if self.is_closed or left <= 0:
                    said = "\n".join(json.dumps(m)[:300] for m in self.messages[-15:])
                    raise AssertionError(
                        f"no {what} {'before the end' if self.is_closed else 'in time'}; last:\n{said}"
                    )
                self._changed.wait(left)
        return found

    # --- the reader thread

    def _read(self) -> None:
        try:
            while (message := _next_message(self._reader)) is not None:
                validate(message, strict=True)
                self._received(message)
                self.may_read.wait()
        except ConnectionError:
            pass  # an end like any other: whoever waits for more is told
        except BaseException as error:
            self._problem = error
        finally:
            with self._changed:
                self.is_closed = True
                self._changed.notify_all()

    def _received(self, message: Json) -> None:
        with self._changed:
            if message.get("event") == "process" and "systemProcessId" in message["body"]:
                self.engines.append(Watched(message["body"]["systemProcessId"]))
            self.messages.append(message)
            self._changed.notify_all()
        if message["type"] == "request":
            self._answer_reverse(message)

    def _answer_reverse(self, request: Json) -> None:
        answer: Json = {"seq": 1, "type": "response", "request_seq": request["seq"], "command": request["command"]}
        try:
            answer.update(success=True, body=self.answer_reverse(request))
        except Exception as error:
            answer.update(success=False, message=str(error), body={})
        validate(answer)
        self.send_bytes(framed(json.dumps(answer).encode()))

    def release(self) -> None:
        """Gives back what belongs to the operating system, once the connection is closed."""
        self.may_read.set()
        self._thread.join(SECONDS)
        for stream in (self._reader, self._writer):
            with suppress(OSError):  # the adapter was faster
                stream.close()
        for engine in self.engines:
            engine.close()

    def check(self) -> None:
        """What holds for every conversation, however it went."""
        if self._problem is not None:
            raise AssertionError("the adapter sent something wrong") from self._problem
        assert [message["seq"] for message in self.messages] == list(range(1, len(self.messages) + 1))
        answered = Counter(message["request_seq"] for message in self.messages if message["type"] == "response")
        assert answered <= self.sent, f"answered, and not asked so often: {answered - self.sent}"
        started = [body["progressId"] for body in self.events("progressStart")]
        assert started == [body["progressId"] for body in self.events("progressEnd")] or not self.is_orderly
        for name in ("exited", "terminated"):
            runs = 1 + self.order("launch", "restart").count("restart")
            assert len(self.events(name)) <= runs, f"{name} is told once"

    @property
    def is_orderly(self) -> bool:
        """Whether the session came to its end, rather than being cut off."""
        return bool(self.events("terminated"))


class Adapter(Conversation):
    """An adapter over standard input and output, as an editor starts it."""

    def __init__(self, stderr: Path, *options: str, env: Mapping[str, str] | None = None) -> None:
        self._stderr = stderr
        self._is_checked = False
        with stderr.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dap_server", "adapter", *options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, **(env or {})},
            )
        assert self.process.stdin
        assert self.process.stdout
        super().__init__(self.process.stdout, self.process.stdin)

    def said(self) -> str:
        """What it wrote to standard error."""
        return self._stderr.read_text(errors="replace")

    def exit_code(self, seconds: float = GRACE) -> int:
        """Waits for the end of the process."""
        return self.process.wait(seconds)

    def close(self) -> None:
        """Closes its input: it has to go, and its engines with it."""
        if self._is_checked:
            return
        self._is_checked = True
        self.close_input()
        try:
            self.exit_code()
        finally:
            self.process.kill()
            left = [engine.pid for engine in self.engines if not engine.has_ended()]
            self.release()
        assert not left, f"left behind: {left}"
        assert "Traceback" not in self.said(), self.said()
        self.check()


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def error_of(response: Json) -> str:
    """The text of an error response. Every one has a body with an error."""
    assert not response["success"], response
    text: str = response["body"]["error"]["format"]
    assert text
    return text


def _next_message(stream: IO[bytes]) -> Json | None:
    header = stream.readline()
    if not header:
        return None
    assert header.startswith(b"Content-Length: "), header
    assert stream.readline() == b"\r\n"
    message: Json = json.loads(stream.read(int(header.split(b":")[1])))
    return message


def _refuse(request: Json) -> Json:
    raise AssertionError(f"this client does not know {request['command']}")
