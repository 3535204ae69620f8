"""What may be written next in a map."""

from __future__ import annotations

from lsprotocol import types

from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of

END = len(ATLAS.splitlines())


def complete(editor: Editor, line: int, column: int) -> list[types.CompletionItem]:
    params = types.CompletionParams(DOCUMENT, types.Position(line, column))
    found = editor.wait(editor.client.text_document_completion_async(params))
    assert not isinstance(found, types.CompletionList)
    return list(found or ())


def typed(editor: Editor, text: str) -> list[types.CompletionItem]:
    """Offered behind a text on a line of its own, at the map's end."""
    editor.change(2, types.TextDocumentContentChangeWholeDocument(f"{ATLAS}{text}"))
    return complete(editor, END, len(text))


def test_behind_a_dot_only_the_modules_directly_inside_are_offered(editor: Editor) -> None:
    assert [item.label for item in typed(editor, "  model.")] == ["embed_tokens", "layers", "norm"]
    assert [item.label for item in typed(editor, "model.layers.")] == ["0", "1"]
    items = typed(editor, "    model.layers.1.")
    assert [(item.label, item.detail) for item in items] == [("self_attn", "LlamaAttention"), ("mlp", "LlamaMLP")]


def test_what_is_chosen_takes_the_place_of_the_last_name_alone(editor: Editor) -> None:
    edit = typed(editor, "  model.layers.1.ml")[-1].text_edit
    assert isinstance(edit, types.TextEdit)
    assert edit.new_text == "mlp"
    start = len("  model.layers.1.")
    assert edit.range == types.Range(types.Position(END, start), types.Position(END, start + 2))


def test_without_a_dot_the_outermost_places_are_offered(editor: Editor) -> None:
    labels = [item.label for item in typed(editor, "")]
    assert labels == ["step", ".", "model", "lm_head", "logits", "TemperatureLogitsWarper", "sample"]


def test_in_comments_nothing_is_offered(editor: Editor) -> None:
    assert typed(editor, "# model.") == []
    assert typed(editor, "model.norm  LlamaRMSNorm  # model.") == []
    assert complete(editor, 0, 2) == []


def test_behind_the_path_its_class_is_offered(editor: Editor) -> None:
    assert [item.label for item in typed(editor, "  model.norm  Lla")] == ["LlamaRMSNorm"]
    assert "LlamaMLP" in [item.label for item in typed(editor, "  model.other  ")]


def names_at(editor: Editor, place: str) -> dict[str, types.CompletionItem]:
    return {item.label: item for item in complete(editor, line_of(ATLAS, place), 0)}


def test_at_the_first_column_of_a_place_the_names_of_conditions_are_offered(editor: Editor) -> None:
    """This is what VS Code asks for from its own breakpoint box."""
    names = names_at(editor, "model.layers.0")
    assert {"step", "layer", "norm", "hidden", "attention", "torch"} <= names.keys()
    assert "token" not in names
    assert names["attention"].insert_text == "attention("
    assert names["hidden"].detail == "hidden: Tensor (B, T, D)"
    assert names["hidden"].documentation
    sample = names_at(editor, "sample")
    assert {"token", "text", "prob", "entropy"} <= sample.keys()
    assert "hidden" not in sample
    assert "entropy" in names_at(editor, "TemperatureLogitsWarper")
    assert {item.kind for item in names.values()} <= {
        types.CompletionItemKind.Variable,
        types.CompletionItemKind.Function,
        types.CompletionItemKind.Module,
    }, "VS Code's box leaves out snippets"
