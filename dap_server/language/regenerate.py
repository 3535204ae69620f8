"""A map made anew, as changes of the document that is open: line by line, so that what hangs on a line stays there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.language.text import Text
from dap_server.modelmap.text import MapText, moves, read_map

REGENERATE = "llm-dap.regenerateMap"
"""The command of the code action; its argument is the map's URI."""


def edits(document: Document, new: str) -> list[types.TextEdit]:
    """From the document to another text of it. A place that stays is changed in its line, where breakpoints hang."""
    old_lines, new_lines = document.text.lines, Text(new).lines
    old_keys = _keys(old_lines, document.map)
    new_keys = _keys(new_lines, read_map(new))
    end = "\r\n" if "\r\n" in document.text.source else "\n"
    if not document.text.ends <= {end}:  # mixed: what stays and what comes would run together
        return [_block(document, 0, len(old_lines), new_lines, end)] if old_lines != new_lines else []
    found = []
    for kind, i, i_end, j, j_end in SequenceMatcher(None, old_keys, new_keys, autojunk=False).get_opcodes():
        if kind == "equal":
            for old, line in zip(range(i, i_end), new_lines[j:j_end], strict=True):
                if old_lines[old] != line:
                    found.append(types.TextEdit(document.line(old + 1), line))
        else:
            found.append(_block(document, i, i_end, new_lines[j:j_end], end))
    return found


def new_lines(old: MapText, new: str) -> dict[int, int]:
    """The new line of every old one with the same place, from 0."""
    return {line - 1: number - 1 for line, number in moves(old, read_map(new)).items()}


def code_actions(
    document: Document, diagnostics: Sequence[types.Diagnostic], only: Sequence[types.CodeActionKind | str] | None
) -> list[types.CodeAction]:
    """Names that are nearest to one that the model does not have, and the whole map anew; `only` of some kinds."""
    fitting = [diagnostic for diagnostic in diagnostics if diagnostic.code == "fit"]
    found = [action for diagnostic in fitting for action in _nearest(document, diagnostic)]
    if document.map.model:
        found.append(
            types.CodeAction(
                title="Make this map anew from the model's config",
                kind=types.CodeActionKind.QuickFix if fitting else types.CodeActionKind.Source,
                diagnostics=fitting or None,
                command=types.Command("Make this map anew", REGENERATE, arguments=[document.uri]),
            )
        )
    return [action for action in found if only is None or action.kind in only]


def _nearest(document: Document, diagnostic: types.Diagnostic) -> Iterator[types.CodeAction]:
    """As its message says: `…; did you mean 'a' or 'b'?`."""
    _, found, near = diagnostic.message.partition("; did you mean ")
    for name in near.rstrip("?").split(" or ") if found else ():
        edit = types.TextEdit(diagnostic.range, name.strip("'"))
        yield types.CodeAction(
            title=f"Change to {name}",
            kind=types.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            edit=types.WorkspaceEdit(changes={document.uri: [edit]}),
        )


def _keys(lines: list[str], text: MapText) -> list[str]:
    """What says that two lines are the same one: the place, or else what stands there."""
    return [f"\0{text.lines[n].path}" if n in text.lines else line for n, line in enumerate(lines, 1)]


def _block(document: Document, first: int, end: int, lines: list[str], line_end: str) -> types.TextEdit:
    """Puts lines in the place of those from `first` to `end`, counted from 0; `first` may lie behind the last line."""
    count = len(document.text.lines)
    if end < count:
        between = types.Range(types.Position(first, 0), types.Position(end, 0))
        return types.TextEdit(between, "".join(line + line_end for line in lines))
    start = document.line(first).end if first else types.Position(0, 0)
    text = "".join(line_end + line for line in lines) if first else line_end.join(lines)
    return types.TextEdit(types.Range(start, document.line(count).end), text)
