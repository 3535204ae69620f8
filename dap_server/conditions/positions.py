"""Where things stand in a text: Python counts lines, and bytes in them; people count characters."""

from __future__ import annotations

import ast
import re
from typing import NamedTuple

from dap_server.conditions.errors import Problem

_LINE_END = re.compile(r"\r\n|\r|\n")


class Span(NamedTuple):
    """Of a text; from 1, in characters, the end exclusive."""

    column: int
    end_column: int

    def problem(self, message: str) -> Problem:
        return Problem(self.column, self.end_column, message)


class Positions:
    """Of the source that Python was given, a part of what somebody typed.

    `offset` is how many characters stand before it.
    """

    def __init__(self, source: str, offset: int = 0) -> None:
        self._offset, self._length = offset, len(source)
        self._lines: list[tuple[int, str]] = []
        start = 0
        for end in _LINE_END.finditer(source):
            self._lines.append((start, source[start : end.start()]))
            start = end.end()
        self._lines.append((start, source[start:]))

    @property
    def first(self) -> int:
        """The column of the source's first character."""
        return self._offset + 1

    @property
    def last(self) -> int:
        """The column behind it."""
        return self._offset + self._length + 1

    def of_node(self, node: ast.expr) -> Span:
        end_line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
        return self.of_bytes(node.lineno, node.col_offset, end_line, end)

    def of_bytes(self, line: int, start: int, end_line: int, end: int) -> Span:
        """Of lines from 1 and bytes of their UTF-8 from 0."""
        return self._span(self._characters(line, start), self._characters(end_line, end))

    def of_error(self, error: SyntaxError) -> Span:
        """Where Python says that it is; its columns are characters from 1, or 0 for the end of the text."""
        if not error.offset:  # it came to the end
            return self._span(self._length, self._length)
        start = self._start(error.lineno or 1) + error.offset - 1
        if not error.end_lineno or not error.end_offset or error.end_offset < 1:
            return self._span(start, start + 1)
        return self._span(start, self._start(error.end_lineno) + error.end_offset - 1)

    def _start(self, line: int) -> int:
        return self._lines[line - 1][0] if 0 < line <= len(self._lines) else self._length

    def _characters(self, line: int, byte: int) -> int:
        if not 0 < line <= len(self._lines):
            return self._length
        start, text = self._lines[line - 1]
        return start + len(text.encode("utf-8")[:byte].decode("utf-8", "ignore"))

    def _span(self, start: int, end: int) -> Span:
        start = max(0, min(start, self._length))
        end = max(start, min(end, self._length))
        return Span(self._offset + start + 1, self._offset + end + 1)
