"""What the pointer is told."""

from __future__ import annotations

import pytest
from lsprotocol import types

from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of


def hover(editor: Editor, place: str, column: int | None = None) -> str:
    line = line_of(ATLAS, place)
    at = ATLAS.splitlines()[line].index(place) if column is None else column
    params = types.HoverParams(DOCUMENT, types.Position(line, at))
    found = editor.wait(editor.client.text_document_hover_async(params))
    if found is None:
        return ""
    assert isinstance(found.contents, types.MarkupContent)
    assert found.range is not None
    assert found.range.start.line == line
    return found.contents.value


def test_a_module_tells_class_shapes_size_and_its_share_of_the_model(editor: Editor) -> None:
    text = hover(editor, "model.layers.0.mlp")
    assert "**`model.layers.0.mlp`** · `LlamaMLP`" in text
    assert "(B, T, 192) → (B, T, 192)" in text
    assert f"294,912 · {100 * 294_912 / 2_647_296:.3g} % of the model" in text
    assert f"{294_912 * 4 / 2**20:.4g} MiB in float32" in text
    assert f"600 kFLOP per token · {100 * 600 / 5290:.3g} % of the model" in text
    assert "one of 2 in this model, written in `transformers.models.llama.modeling_llama`" in text


def test_the_whole_model_is_no_share_of_itself(editor: Editor) -> None:
    text = hover(editor, ".")
    assert "**the whole model** · `LlamaForCausalLM`" in text
    assert "%" not in text


def test_a_list_says_where_to_set_the_breakpoint_instead(editor: Editor) -> None:
    assert "set the breakpoint on a line inside it" in hover(editor, "model.layers")


@pytest.mark.parametrize(
    ("place", "said", "known", "not_known"),
    [
        ("step", "one forward pass", "`step`", "`token`"),
        ("logits", "before any logits processor", "`entropy`", "`token`"),
        ("TemperatureLogitsWarper", "with temperature", "`probs`", "`hidden`"),
        ("sample", "choice of the token", "`prob`", "`attention`"),
    ],
)
def test_a_place_of_token_selection_tells_what_it_is_and_which_names_it_has(
    editor: Editor, place: str, said: str, known: str, not_known: str
) -> None:
    text = hover(editor, place)
    assert said in text
    names = text.partition("Names of conditions here: ")[2]
    assert known in names
    assert not_known not in names


def test_comments_blank_lines_and_places_behind_the_text_tell_nothing(editor: Editor) -> None:
    editor.change(2, types.TextDocumentContentChangeWholeDocument(ATLAS.replace("MFLOP\n", "MFLOP  # why?\n", 1)))
    line = line_of(ATLAS, ".")
    assert hover(editor, ".", ATLAS.splitlines()[line].index("MFLOP") + len("MFLOP  # wh")) == ""
    for position in (types.Position(0, 3), types.Position(ATLAS.splitlines().index(""), 0), types.Position(9999, 9)):
        params = types.HoverParams(DOCUMENT, position)
        assert editor.wait(editor.client.text_document_hover_async(params)) is None
