"""The prompt: a line is read, done, and read again, until the session or the user ends."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.application.current import set_app
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from dap_server.terminal.commands.session import Quit
from dap_server.terminal.completion import DebuggerCompleter
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.script import PROMPT, attempt


class Loop:
    """The interactive debugger.

    Threads: all on the caller's; what the connection's thread has to say is handed to the prompt's event loop.
    """

    def __init__(self, debugger: Debugger, history: History | None = None) -> None:
        self._debugger = debugger
        self._session: PromptSession[str] = PromptSession(
            history=history or _history(), completer=DebuggerCompleter(debugger), complete_while_typing=False
        )
        self._repeated = ""

    def run(self) -> None:
        """Returns when the session has ended or the user quits."""
        self._debugger.client.arrived = self._wake
        try:
            while not self._debugger.is_over:
                self._do(self._read().strip() or self._repeated)
        except (EOFError, Quit):
            return
        finally:
            self._debugger.client.arrived = None

    def _read(self) -> str:
        """The next line. Raises EOFError at the end of the input or of the session."""
        try:
            return self._session.prompt(FormattedText([("bold", PROMPT)]), pre_run=self._show_soon)
        except KeyboardInterrupt:
            self._repeated = ""
            return ""  # leaves the line, as shells do

    def _do(self, line: str) -> None:
        if not line:
            return
        command = attempt(self._debugger, line).command
        self._repeated = command.name if command is not None and command.repeats else ""

    def _wake(self) -> None:
        """Reader thread: an event has come. While no prompt is open, whoever waits for it shows it."""
        loop = self._session.app.loop
        if loop is not None and self._session.app.is_running:
            loop.call_soon_threadsafe(self._show)

    def _show_soon(self) -> None:
        """What came before the prompt opened is shown once it is open."""
        asyncio.get_running_loop().call_soon(self._show)

    def _show(self) -> None:
        """Above the open prompt; closes it when the session is over."""
        app = self._session.app
        debugger = self._debugger
        if not app.is_running or not (debugger.client.inbox.has_news or debugger.client.has_ended):
            return

        def show() -> None:
            debugger.show_pending()
            if debugger.is_over and app.is_running and not app.is_done:
                app.exit(exception=EOFError())

        with set_app(app):
            run_in_terminal(show)


def _history() -> History:
    """In the user's state folder; only for this session where that cannot be written."""
    folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "llm-dap"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "history").touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(folder / "history"))
