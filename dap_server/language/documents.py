"""The maps that are open in the editor, as they are there, saved or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from lsprotocol import types
from pygls.uris import from_fs_path, to_fs_path

from dap_server.language.text import Text
from dap_server.language.tree import Node, tree
from dap_server.modelmap.text import MapLine, MapText, Span, read_map


class Document:
    """A map at one version: its text, and what was read from it."""

    def __init__(self, uri: str, text: Text, version: int = 0) -> None:
        self.uri = uri
        self.text = text
        self.version = version

    @cached_property
    def map(self) -> MapText:
        return read_map("\n".join(self.text.lines))

    @cached_property
    def tree(self) -> list[Node]:
        return tree(self.map)

    def range(self, number: int, span: Span) -> types.Range:
        """Of columns in a line, both as the map counts them, from 1."""
        return self.text.range(number - 1, span.start - 1, span.end - 1)

    def line(self, number: int) -> types.Range:
        """A whole line, counted from 1."""
        return self.text.range(number - 1, 0, len(self.text.lines[number - 1]))

    def place_at(self, position: types.Position) -> tuple[int, MapLine] | None:
        """The line, from 1, and the place on it; None in a comment and where there is no place."""
        number = position.line + 1
        line = self.map.at(number)
        comment = self.map.spans.get(number, {}).get("comment")
        if line is None or (comment and self.text.column(position) >= comment.start):
            return None
        return number, line

    @property
    def path(self) -> Path | None:
        """Where the file is, or will be; None for a document that is no file."""
        path = to_fs_path(self.uri)
        return Path(path) if path else None


class Documents:
    def __init__(self) -> None:
        self.encoding: str = types.PositionEncodingKind.Utf16.value
        """The unit of columns that was agreed on with the client."""
        self._open: dict[str, Document] = {}

    def open(self, item: types.TextDocumentItem) -> None:
        self._open[item.uri] = Document(item.uri, Text(item.text, self.encoding), item.version)

    def change(
        self, document: types.VersionedTextDocumentIdentifier, changes: Sequence[types.TextDocumentContentChangeEvent]
    ) -> None:
        if document.uri not in self._open:
            return  # closed, or never opened: there is nothing that the change could be of
        text = self._open[document.uri].text
        for change in changes:
            text = text.edited(change)
        self._open[document.uri] = Document(document.uri, text, document.version)

    def close(self, uri: str) -> None:
        self._open.pop(uri, None)

    def is_open(self, uri: str) -> bool:
        return uri in self._open

    def __iter__(self) -> Iterator[Document]:
        return iter(list(self._open.values()))

    def get(self, uri: str) -> Document:
        """The document as it is in the editor, or else in its file; an empty one where there is neither."""
        if uri in self._open:
            return self._open[uri]
        path = to_fs_path(uri)
        try:
            source = Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
        except OSError:
            source = ""
        return Document(uri, Text(source, self.encoding))


def uri_of(path: Path) -> str:
    uri = from_fs_path(str(path))
    assert uri is not None, "a path is text"
    return str(uri)
