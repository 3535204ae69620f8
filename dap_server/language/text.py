r"""A text with lines and columns as the Language Server Protocol counts them.

The protocol ends lines at `\n`, `\r\n` and `\r` alone, where Python's `splitlines` knows eight more, and counts columns
in the units of an encoding, UTF-16 unless another was agreed on. Here lines and columns count from 0, in characters.
"""

from __future__ import annotations

import re
from functools import cached_property

from lsprotocol import types

_LINE_END = re.compile(r"\r\n|\r|\n")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}


class Text:
    """A text that does not change: an edit makes another."""

    def __init__(self, source: str, encoding: str = types.PositionEncodingKind.Utf16.value) -> None:
        self.source = source
        self._encoding = encoding
        self._codec, self._unit_bytes = _CODECS[encoding]

    @cached_property
    def lines(self) -> list[str]:
        """Without their ends; the last one may be empty."""
        return _LINE_END.split(self.source)

    @property
    def ends(self) -> set[str]:
        """What ends its lines."""
        return set(_LINE_END.findall(self.source))

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(end.end() for end in _LINE_END.finditer(self.source))]

    @cached_property
    def _is_plain(self) -> bool:
        """Whether every character is one unit, as in nearly all texts: then there is nothing to count."""
        if self._codec == "utf-8":
            return self.source.isascii()
        return self._codec == "utf-32-le" or _ASTRAL.search(self.source) is None

    def units(self, text: str) -> int:
        """How wide a piece of a line is for the client."""
        if self._is_plain or text.isascii():
            return len(text)
        return len(text.encode(self._codec, "surrogatepass")) // self._unit_bytes

    def position(self, line: int, column: int) -> types.Position:
        text = self.lines[line] if line < len(self.lines) else ""
        return types.Position(line, self.units(text[:column]))

    def range(self, line: int, start: int, end: int) -> types.Range:
        return types.Range(self.position(line, start), self.position(line, end))

    def column(self, position: types.Position) -> int:
        """Of the character at a client's position; one behind the end of the line stands for its end."""
        text = self.lines[position.line] if position.line < len(self.lines) else ""
        if self._is_plain or text.isascii():
            return min(position.character, len(text))
        units = 0
        for column, character in enumerate(text):
            if units >= position.character:
                return column
            units += self.units(character)
        return len(text)

    def edited(self, change: types.TextDocumentContentChangeEvent) -> Text:
        if isinstance(change, types.TextDocumentContentChangeWholeDocument):
            return Text(change.text, self._encoding)
        start, end = self._offset(change.range.start), self._offset(change.range.end)
        return Text(self.source[:start] + change.text + self.source[max(start, end) :], self._encoding)

    def _offset(self, position: types.Position) -> int:
        if position.line >= len(self.lines):
            return len(self.source)
        return self._starts[position.line] + self.column(position)
