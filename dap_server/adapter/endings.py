"""How the process that runs the model ends, and what that means to who asks it something, or waits for it to go."""

from __future__ import annotations

from dataclasses import dataclass

from dap_server.protocol.attach import Configuration
from dap_server.protocol.errors import RequestError
from dap_server.wire.reply import Reply


@dataclass(frozen=True)
class Exit:
    """How a process ended. `code` is what a shell would show; `signal_name` when a signal ended it."""

    code: int
    signal_name: str | None = None

    def __str__(self) -> str:
        if self.signal_name == "SIGKILL":
            return "was killed (SIGKILL): by hand, or by the system for want of memory"
        if self.signal_name:
            return f"was ended by the signal {self.signal_name}"
        return f"ended with exit status {self.code}"


class ProcessEnded(RequestError):
    """The process that runs the model is gone, and what was asked of it stays unanswered."""

    show_user = False


class Successor:
    """What `restart` has asked for, while the program that runs is about to end."""

    def __init__(self, configuration: Configuration) -> None:
        self.configuration = configuration
        self.reply: Reply[None] = Reply()

    def started(self, start: Reply[None]) -> None:
        """It is; the reply comes when it has, or has not."""
        start.then(self._pass_on)

    def give_up(self) -> None:
        """Something else is asked for meanwhile."""
        self.reply.settle(None)

    def _pass_on(self, start: Reply[None]) -> None:
        try:
            self.reply.settle(start.result())
        except RequestError as error:
            self.reply.fail(error)
