"""Colours and hints in a map."""

from __future__ import annotations

from collections.abc import Iterator

from lsprotocol import types

from dap_server.language.tokens import TYPES
from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of

EVERYTHING = types.Range(types.Position(0, 0), types.Position(9999, 0))


def decoded(text: str, tokens: types.SemanticTokens | None) -> Iterator[tuple[int, str, str]]:
    """Line, word and type of each token."""
    assert tokens is not None
    line = column = 0
    for i in range(0, len(tokens.data), 5):
        below, beside, length, kind, _ = tokens.data[i : i + 5]
        line, column = line + below, beside if below else column + beside
        yield line, text.splitlines()[line][column : column + length], TYPES[kind]


def test_every_word_of_a_line_has_its_colour(editor: Editor) -> None:
    params = types.SemanticTokensParams(DOCUMENT)
    tokens = list(decoded(ATLAS, editor.wait(editor.client.text_document_semantic_tokens_full_async(params))))
    line = line_of(ATLAS, "model.layers.1.mlp")
    assert [(word, kind) for n, word, kind in tokens if n == line] == [
        ("model", "namespace"), ("layers", "namespace"), ("1", "number"), ("mlp", "namespace"), ("LlamaMLP", "class"),
        ("B", "typeParameter"), ("T", "typeParameter"), ("192", "number"),
        ("B", "typeParameter"), ("T", "typeParameter"), ("192", "number"),
        ("294,912", "number"), ("600 kFLOP", "number"),
    ]  # fmt: skip
    assert [(word, kind) for n, word, kind in tokens if n == line_of(ATLAS, "sample")] == [
        ("sample", "event"),
        ("the choice of the token", "string"),
    ]
    assert [(word, kind) for n, word, kind in tokens if n in (0, 1)] == [
        ("# llm-dap map 1", "comment"),
        ("#", "comment"),
        ("model", "keyword"),
        ("models/atlas", "string"),
    ]


def test_of_the_visible_lines_alone_they_are_the_same(editor: Editor) -> None:
    whole = types.SemanticTokensParams(DOCUMENT)
    tokens = decoded(ATLAS, editor.wait(editor.client.text_document_semantic_tokens_full_async(whole)))
    visible = types.Range(types.Position(15, 0), types.Position(17, 0))
    params = types.SemanticTokensRangeParams(DOCUMENT, visible)
    some = decoded(ATLAS, editor.wait(editor.client.text_document_semantic_tokens_range_async(params)))
    assert list(some) == [token for token in tokens if 15 <= token[0] <= 17]


def hints(editor: Editor) -> dict[int, str]:
    params = types.InlayHintParams(DOCUMENT, EVERYTHING)
    found = editor.wait(editor.client.text_document_inlay_hint_async(params)) or ()
    return {hint.position.line: str(hint.label) for hint in found}


def test_hints_say_what_lists_add_up_to_and_how_much_memory_it_takes(editor: Editor) -> None:
    assert hints(editor) == {
        line_of(ATLAS, "model.layers"): "886K parameters",
        ATLAS.splitlines().index("# parameters: 2,647,296"): "10.1 MiB in float32",
    }


def test_a_hint_stands_behind_the_text_and_before_a_comment(editor: Editor) -> None:
    line = line_of(ATLAS, "model.layers")
    text = ATLAS.splitlines()[line]
    editor.change(2, types.TextDocumentContentChangeWholeDocument(ATLAS.replace(text, f"{text}   # mine")))
    params = types.InlayHintParams(DOCUMENT, types.Range(types.Position(line, 0), types.Position(line, 0)))
    [hint] = editor.wait(editor.client.text_document_inlay_hint_async(params)) or ()
    assert hint.position == types.Position(line, len(text))
