"""A map made anew in the editor: comments stay, and so do breakpoints, which hang on lines."""

from __future__ import annotations

import random

import pytest
from lsprotocol import types

from dap_server.language.documents import Document
from dap_server.language.regenerate import edits, new_lines
from dap_server.language.text import Text
from dap_server.modelmap.text import read_map
from tests.language.client import DOCUMENT, MAP_URI, Editor
from tests.language.maps import ATLAS, large_map, line_of


def apply(source: str, changes: list[types.TextEdit]) -> str:
    """As an editor does: all speak of the text as it was, and an insertion comes before what is replaced there."""
    text = Text(source)
    in_order = sorted(changes, key=lambda edit: (edit.range.start.line, edit.range.start.character))
    for edit in reversed(in_order):
        text = text.edited(types.TextDocumentContentChangePartial(edit.range, edit.new_text))
    return text.source


def document(source: str) -> Document:
    return Document(MAP_URI, Text(source), 1)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ATLAS, ATLAS),
        (ATLAS, large_map(1)),
        (large_map(1), ATLAS),
        (ATLAS, ""),
        ("", ATLAS),
        (ATLAS.rstrip("\n"), ATLAS),
        (ATLAS, ATLAS.rstrip("\n")),
        (ATLAS, "\n".join(ATLAS.splitlines()[5:20])),
    ],
)
def test_the_changes_lead_from_any_map_to_any_other(old: str, new: str) -> None:
    assert apply(old, edits(document(old), new)) == new


def test_the_changes_lead_between_maps_with_lines_taken_out_and_doubled() -> None:
    chance = random.Random(3)
    lines = ATLAS.splitlines(keepends=True)
    for _ in range(100):
        old, new = ("".join(line * chance.choice([0, 1, 1, 1, 2]) for line in lines) for _ in range(2))
        assert apply(old, edits(document(old), new)) == new


def test_line_ends_of_windows_stay() -> None:
    old = ATLAS.replace("\n", "\r\n")
    new = large_map(1).replace("\n", "\r\n")
    assert apply(old, edits(document(old), new)) == new


def test_a_line_whose_place_stays_is_changed_in_its_line() -> None:
    """A change that lies within a line moves no breakpoint off it."""
    new = ATLAS.replace("192", "256").replace("294,912", "1,000,000")
    changes = edits(document(ATLAS), new)
    assert changes
    assert all(edit.range.start.line == edit.range.end.line and "\n" not in edit.new_text for edit in changes)


def test_moves_are_told_by_path() -> None:
    lines = ATLAS.splitlines()
    norm = line_of(ATLAS, "model.norm")
    new = "\n".join([*lines[:5], "# more", *lines[5:norm], *lines[norm + 1 :]])
    moves = new_lines(read_map(ATLAS), new)
    assert moves[line_of(ATLAS, "step")] == line_of(ATLAS, "step") + 1
    assert moves[line_of(ATLAS, "sample")] == line_of(ATLAS, "sample")
    assert norm not in moves


def actions(editor: Editor, diagnostics: list[types.Diagnostic]) -> list[types.CodeAction | types.Command]:
    everything = types.Range(types.Position(0, 0), types.Position(999, 0))
    params = types.CodeActionParams(DOCUMENT, everything, types.CodeActionContext(diagnostics))
    found = editor.wait(editor.client.text_document_code_action_async(params))
    return list(found or ())


def test_a_name_that_the_model_does_not_have_can_be_changed_to_the_nearest(editor: Editor) -> None:
    where = types.Range(types.Position(20, 8), types.Position(20, 26))
    message = "the model has no 'model.layers.1.mpl'; did you mean 'model.layers.1.mlp' or 'model.layers.1.x'?"
    change, other, anew = actions(editor, [types.Diagnostic(where, message, code="fit", source="llm-dap")])
    assert (change.title, other.title) == ("Change to 'model.layers.1.mlp'", "Change to 'model.layers.1.x'")
    assert isinstance(change, types.CodeAction)
    assert change.edit is not None
    assert change.edit.changes == {MAP_URI: (types.TextEdit(where, "model.layers.1.mlp"),)}
    assert anew.title == "Make this map anew from the model's config"


def test_a_map_can_always_be_made_anew(editor: Editor) -> None:
    [action] = actions(editor, [])
    assert action.title == "Make this map anew from the model's config"


def test_formatting_aligns_the_columns_and_keeps_comments(editor: Editor) -> None:
    lines = ATLAS.splitlines()
    norm = line_of(ATLAS, "model.norm")
    untidy = [*lines[:norm], "model.norm  LlamaRMSNorm  (B, T, 192) → (B, T, 192)  192  # mine", *lines[norm + 1 :]]
    source = "\n".join([*untidy, ""])
    editor.change(2, types.TextDocumentContentChangeWholeDocument(source))
    params = types.DocumentFormattingParams(DOCUMENT, types.FormattingOptions(2, True))
    [edit] = editor.wait(editor.client.text_document_formatting_async(params)) or ()
    assert apply(source, [edit]) == ATLAS.replace(lines[norm], f"{lines[norm]}  # mine")


def test_what_cannot_be_read_is_not_formatted_away(editor: Editor) -> None:
    editor.change(2, types.TextDocumentContentChangeWholeDocument(f"{ATLAS}no place at all\n"))
    params = types.DocumentFormattingParams(DOCUMENT, types.FormattingOptions(2, True))
    assert not editor.wait(editor.client.text_document_formatting_async(params))
