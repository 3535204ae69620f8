"""What an editor and the adapter say to each other, as `recorder.py` tells it."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.schema import validate

T = TypeVar("T")
Json = dict[str, Any]
TIMEOUT = 60.0
"""Of every wait, in seconds."""


class Traffic:
    """Listens on a port. A thread reads; every message stays in `sent` or `received`, in order."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent: list[Json] = []
        """By the editor."""
        self.received: list[Json] = []
        """By the editor, and held against the schema."""
        self._seen = 0
        self._failure: BaseException | None = None
        self._news = threading.Condition()
        threading.Thread(target=self._read, name="traffic", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        if error is None and self._failure is not None:
            raise self._failure

    def request(self, command: str, count: int = 1) -> Json:
        """Waits until the editor has sent this request so many times; gives the arguments of the last one."""

        def look() -> Json | None:
            found = [message for message in self.sent if message.get("command") == command]
            return found[count - 1] if len(found) >= count else None

        return self._wait(look, f"request {command}").get("arguments") or {}

    def event(self, name: str) -> Json:
        """Waits for the next event of this name; gives its body."""

        def look() -> tuple[int, Json] | None:
            later = enumerate(self.received[self._seen :], start=self._seen)
            return next(((i, m) for i, m in later if m.get("event") == name), None)

        index, message = self._wait(look, f"event {name}")
        self._seen = index + 1
        body: Json = message.get("body", {})
        return body

    def requests(self, command: str) -> list[Json]:
        """The arguments of these requests that the editor has sent so far."""
        return [message.get("arguments") or {} for message in self.sent if message.get("command") == command]

    def answers(self, command: str) -> list[Json]:
        """The bodies of the answers to a request that have come so far."""
        answers = [m for m in self.received if m["type"] == "response" and m["command"] == command]
        return [message.get("body", {}) for message in answers if message["success"]]

    def output(self) -> str:
        """What the model has written so far."""
        bodies = [message["body"] for message in self.received if message.get("event") == "output"]
        return "".join(body["output"] for body in bodies if body.get("category") == "stdout")

    def process(self) -> int:
        """The number of the model's process."""
        number: int = next(m["body"]["systemProcessId"] for m in self.received if m.get("event") == "process")
        return number

    def _wait(self, look: Callable[[], T | None], what: str) -> T:
        deadline = time.monotonic() + TIMEOUT
        with self._news:
            while (found := look()) is None:
                if self._failure is not None:
                    raise self._failure
                if not self._news.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    last = "\n".join(json.dumps(message)[:400] for message in [*self.sent[-4:], *self.received[-4:]])
                    raise TimeoutError(f"no {what} within {TIMEOUT:g} s; the last that either sent:\n{last}")
            return found

    def _read(self) -> None:
        try:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    message = json.loads(line[1:])
                    is_sent = line.startswith(b">")
                    if not is_sent:
                        validate(message, strict=True)
                    with self._news:
                        (self.sent if is_sent else self.received).append(message)
                        self._news.notify_all()
        except OSError:
            pass  # the test is over
        except BaseException as error:  # raised where the test waits
            with self._news:
                self._failure = error
                self._news.notify_all()
