"""Waiting for events. Every wait ends: with what was waited for, with the session, or with its time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Set
from typing import Any

from dap_server.protocol.events import OutputEventBody, StoppedEventBody
from dap_server.terminal.errors import SessionEnded
from dap_server.terminal.inbox import Arrival, Inbox
from dap_server.wire.reply import Reply


class Waits(ABC):
    """The events of a session.

    Attributes:
        inbox: the events that nobody has taken yet.
        outputs: all output so far, taken or not.
        exit_code: of the debuggee, once it has exited.
        timeout: seconds that a wait lasts at most when the caller does not say.
    """

    def __init__(self, timeout: float) -> None:
        self.inbox = Inbox()
        self.outputs: list[OutputEventBody] = []
        self.exit_code: int | None = None
        self.timeout = timeout

    def wait_for(self, event: str, timeout: float | None = None, unless: Reply[Any] | None = None) -> Any:
        """Takes the next event of this name and gives its body.

        Raises:
            SessionEnded: the connection ended first.
            RequestError: the request `unless` failed first.
            TimeoutError: it did not come in time.
        """
        return self.take({event}, timeout, unless).body

    def take(
        self, names: Set[str] | None = None, timeout: float | None = None, unless: Reply[Any] | None = None
    ) -> Arrival:
        """Takes the next event of these names, of any name when None. Raises as `wait_for` does."""
        what = "event" if names is None else " or ".join(f"'{name}'" for name in sorted(names))
        if unless is not None:
            self.inbox.watch(unless)

        def look() -> Arrival | None:
            if unless is not None and unless.is_settled:
                unless.result(0)  # raises if it failed; a success says nothing about the event
            if (arrival := self.inbox.take(names)) is not None:
                return arrival
            if self.inbox.is_closed:
                raise SessionEnded(self._story(f"the connection ended before the {what}"))
            return None

        return self.inbox.wait(look, self.timeout if timeout is None else timeout, what)

    def wait_for_stop(self, timeout: float | None = None) -> StoppedEventBody:
        """Takes the next `stopped` event.

        Raises:
            SessionEnded: the debuggee or the connection ended instead; the events that say so can still be taken.
            TimeoutError: neither happened in time.
        """

        def look() -> Arrival | None:
            first = self.inbox.peek({"stopped", "exited", "terminated"})
            if first is not None and first.event == "stopped":
                return self.inbox.take({"stopped"})
            if first is not None or self.inbox.is_closed:
                raise SessionEnded(self._story("the session ended instead of stopping"))
            return None

        stopped: StoppedEventBody = self.inbox.wait(look, self.timeout if timeout is None else timeout, "stop").body
        return stopped

    def wait_for_end(self, timeout: float | None = None) -> int:
        """Waits for `exited` and `terminated` and gives the exit code."""
        code: int = self.wait_for("exited", timeout).exit_code
        self.wait_for("terminated", timeout)
        return code

    def output(self, category: str = "stdout") -> str:
        """All text of one category that has come so far."""
        return "".join(body.output for body in self.outputs if (body.category or "console") == category)

    @abstractmethod
    def _how_the_adapter_ended(self) -> str | None: ...

    def _story(self, what: str) -> str:
        lines = [what]
        if self.inbox.reason:
            lines.append(self.inbox.reason)
        if self.exit_code is not None:
            lines.append(f"the debuggee exited with {self.exit_code}")
        if (end := self._how_the_adapter_ended()) is not None:
            lines.append(end)
        said = "".join(body.output for body in self.outputs if body.category != "telemetry")
        return "\n".join([*lines, f"output so far:\n{said[-4000:]}" if said else "no output"])
