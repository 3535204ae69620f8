"""How the process that runs the model ends, and what that means to who asks it something."""

from __future__ import annotations

from dataclasses import dataclass

from dap_server.protocol.errors import RequestError


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
