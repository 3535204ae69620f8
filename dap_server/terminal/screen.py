"""Where everything is printed: the model's text as it comes, and our lines between."""

from __future__ import annotations

import os
from typing import IO

from rich.console import Console, RenderableType
from rich.status import Status
from rich.text import Text

from dap_server.terminal import render

PLAIN_WIDTH = 100
"""Columns when nobody says how wide the paper is."""


class Screen:
    """Knows whether the cursor stands at the start of a line. Colours and moving pictures only on a terminal."""

    def __init__(self, file: IO[str] | None = None, width: int | None = None) -> None:
        console = Console(file=file, width=width, highlight=False, markup=False, emoji=False)
        if not console.is_terminal and width is None and "COLUMNS" not in os.environ:
            console = Console(file=file, width=PLAIN_WIDTH, highlight=False, markup=False, emoji=False)
        self.console = console
        self._in_line = False
        self._text_was_cut = False
        self._status: Status | None = None

    @property
    def is_terminal(self) -> bool:
        return self.console.is_terminal

    def show(self, renderable: RenderableType) -> None:
        """Prints on lines of its own."""
        self.progress(None)
        self.end_line()
        is_line = isinstance(renderable, str | Text)  # as long as it is: terminals wrap, and files have no width
        if self.is_terminal:
            self.console.print(renderable, soft_wrap=is_line)
            return
        with self.console.capture() as captured:
            self.console.print(renderable, soft_wrap=is_line)
        lines = (line.rstrip() for line in captured.get().splitlines())  # columns are padded to their width
        self.console.file.write("".join(f"{line}\n" for line in lines))
        self.console.file.flush()

    def text(self, text: str, category: str = "stdout", is_running: bool = True) -> None:
        """Prints text of the model or of its program as it is, without an end of line of ours.

        Messages of the debugger, such as those of log points, begin a line.

        Args:
            is_running: the text goes on where the last stop cut it.
        """
        if not text:
            return
        if category == "console":
            self.end_line()
        if category == "stdout" and is_running:
            if self._text_was_cut and not self._in_line:
                self.console.print(Text("…", "dim"), end="")
            self._text_was_cut = False
        style = {"stdout": "green", "stderr": "yellow"}.get(category, "dim")
        self.console.print(Text(text, style), end="", soft_wrap=True)
        self._in_line = not text.endswith("\n")

    def end_line(self) -> None:
        """Whatever comes next begins a line."""
        if self._in_line:
            self.console.print()
            self._in_line, self._text_was_cut = False, True

    def begin(self) -> None:
        """A new run: its text goes on from nothing."""
        self._text_was_cut = False

    def error(self, text: str) -> None:
        self.show(render.error(text))

    def progress(self, text: str | None) -> None:
        """A line that comes and goes while something takes long; None ends it. Only on a terminal."""
        if text is None:
            if self._status is not None:
                self._status.stop()
            self._status = None
        elif self._status is not None:
            self._status.update(text)
        elif self.is_terminal and not self._in_line:
            self._status = self.console.status(text)
            self._status.start()
