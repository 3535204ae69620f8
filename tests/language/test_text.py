"""Lines, columns and edits as the protocol counts them."""

from __future__ import annotations

import random

import pytest
from lsprotocol import types

from dap_server.language.text import Text
from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of

ENDS = ["\n", "\r\n", "\r"]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_lines_end_where_the_protocol_says_and_nowhere_else(end: str) -> None:
    text = Text(end.join(["one\x0b\x0c\x1c\x85\u2028still one", "two", ""]))
    assert text.lines == ["one\x0b\x0c\x1c\x85\u2028still one", "two", ""]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_columns_are_counted_in_the_units_of_the_encoding(encoding: str) -> None:
    line = "aé→😋z"
    text = Text(f"first\n{line}", encoding)
    codec, size = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}[encoding]
    for column in range(len(line) + 1):
        units = len(line[:column].encode(codec)) // size
        assert text.position(1, column) == types.Position(1, units)
        assert text.column(types.Position(1, units)) == column
    assert text.column(types.Position(1, 999)) == len(line)
    assert text.column(types.Position(7, 3)) == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_any_series_of_edits_gives_the_text_that_the_editor_has(encoding: str) -> None:
    """Held against a text that is cut at characters, which need no columns."""
    chance = random.Random(7)
    pieces = ["model", ".", "\n", "\r\n", "→", "😋", "é", "\u2028", "  "]
    source = "one\r\ntwo 😋 two\n\u2028three"
    text = Text(source, encoding)
    for _ in range(300):
        start, end = sorted(chance.randrange(len(source) + 1) for _ in range(2))
        if any(0 < at < len(source) and source[at - 1 : at + 1] == "\r\n" for at in (start, end)):
            continue  # no editor stands between them
        new = "".join(chance.choices(pieces, k=chance.randrange(4)))
        edit = types.TextDocumentContentChangePartial(
            types.Range(position_of(text, start), position_of(text, end)), new
        )
        source = source[:start] + new + source[end:]
        text = text.edited(edit)
        assert text.source == source


def position_of(text: Text, offset: int) -> types.Position:
    before = Text(text.source[:offset]).lines
    return text.position(len(before) - 1, len(before[-1]))


def hover_at(editor: Editor, line: int, column: int) -> str:
    params = types.HoverParams(DOCUMENT, types.Position(line, column))
    found = editor.wait(editor.client.text_document_hover_async(params))
    return str(found.contents) if found else ""


def test_an_edit_is_seen_at_once_saved_or_not(editor: Editor) -> None:
    line = line_of(ATLAS, "model.norm")
    column = ATLAS.splitlines()[line].index("norm")
    place = types.Range(types.Position(line, column), types.Position(line, column + 4))
    editor.change(2, types.TextDocumentContentChangePartial(place, "nrom"))
    assert "`model.nrom`" in hover_at(editor, line, column)


def test_several_edits_in_one_message_build_on_each_other(editor: Editor) -> None:
    top = types.Range(types.Position(0, 0), types.Position(0, 0))
    first = types.TextDocumentContentChangePartial(top, "# 😋 one\r\n")
    second = types.TextDocumentContentChangePartial(
        types.Range(types.Position(0, 2), types.Position(0, 4)), "\u2028two\n"
    )
    editor.change(2, first, second)
    line = line_of(ATLAS, "model.norm") + 2
    assert "`model.norm`" in hover_at(editor, line, 6)


def test_lines_that_end_as_on_windows_are_the_same_map(editor: Editor) -> None:
    editor.change(2, types.TextDocumentContentChangeWholeDocument(ATLAS.replace("\n", "\r\n")))
    assert editor.problems(version=2) == []
    assert "`model.norm`" in hover_at(editor, line_of(ATLAS, "model.norm"), 6)


def test_positions_are_right_behind_characters_of_two_units(editor: Editor) -> None:
    editor.change(2, types.TextDocumentContentChangeWholeDocument("# llm-dap map 1\n😋.model  Linear  y  # 😋 c\n"))
    params = types.SemanticTokensParams(DOCUMENT)
    tokens = editor.wait(editor.client.text_document_semantic_tokens_full_async(params))
    assert tokens is not None
    starts = [tokens.data[i + 1] for i in range(5, len(tokens.data), 5)]
    lengths = [tokens.data[i + 2] for i in range(5, len(tokens.data), 5)]
    assert (starts[:2], lengths[:2]) == ([0, 3], [2, 5]), "😋 and model"
    assert lengths[-1] == len("# 😋 c") + 1
