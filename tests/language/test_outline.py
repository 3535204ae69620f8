"""What an editor shows beside a map: its outline, and what of it folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lsprotocol import types

from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of


def outline(editor: Editor) -> Sequence[types.DocumentSymbol]:
    params = types.DocumentSymbolParams(DOCUMENT)
    symbols = editor.wait(editor.client.text_document_document_symbol_async(params))
    return [symbol for symbol in symbols or () if isinstance(symbol, types.DocumentSymbol)]


def paths(symbols: Sequence[types.DocumentSymbol], around: str = "") -> Iterator[str]:
    for symbol in symbols:
        yield f"{around}{symbol.name}"
        yield from paths(symbol.children or (), f"{around}{symbol.name} > ")


def test_the_outline_nests_modules_by_their_paths(editor: Editor) -> None:
    assert list(paths(outline(editor))) == [
        "step",
        ".",
        ". > model",
        ". > model > embed_tokens",
        ". > model > layers",
        ". > model > layers > 0",
        ". > model > layers > 0 > self_attn",
        ". > model > layers > 0 > mlp",
        ". > model > layers > 1",
        ". > model > layers > 1 > self_attn",
        ". > model > layers > 1 > mlp",
        ". > model > norm",
        ". > lm_head",
        "logits",
        "TemperatureLogitsWarper",
        "sample",
    ]


def test_an_entry_tells_class_and_parameters_and_spans_what_is_inside(editor: Editor) -> None:
    _, model, *selection = outline(editor)
    assert model.detail == "LlamaForCausalLM  2.65M parameters"
    assert (model.range.start.line, model.range.end.line) == (line_of(ATLAS, "."), line_of(ATLAS, "lm_head"))
    assert model.selection_range.start.character == 0
    assert {symbol.kind for symbol in selection} == {types.SymbolKind.Event}


def test_the_outline_follows_an_edit_that_takes_out_a_line_around_others(editor: Editor) -> None:
    editor.change(2, types.TextDocumentContentChangeWholeDocument("model.layers.0\nmodel.layers.0.mlp\nsample\n"))
    assert list(paths(outline(editor))) == ["model.layers.0", "model.layers.0 > mlp", "sample"]


def test_a_map_that_is_nested_without_end_has_an_outline(editor: Editor) -> None:
    deep = [".".join(["a"] * depth) for depth in range(1, 1501)]
    editor.change(2, types.TextDocumentContentChangeWholeDocument("\n".join([*deep, "sample\n"])))
    nested, sample = outline(editor)
    found = list(paths([nested]))
    assert (len(found), sample.name) == (1500, "sample")
    assert max(path.count(" > ") for path in found) == 100
    assert found[-1].replace(" > ", ".") == deep[-1]
    params = types.FoldingRangeParams(DOCUMENT)
    ranges = editor.wait(editor.client.text_document_folding_range_async(params)) or ()
    assert (ranges[0].start_line, ranges[0].end_line) == (0, 1499)


def test_modules_and_blocks_of_comments_fold(editor: Editor) -> None:
    params = types.FoldingRangeParams(DOCUMENT)
    ranges = editor.wait(editor.client.text_document_folding_range_async(params)) or ()
    found = {(r.start_line, r.end_line): r.kind for r in ranges}
    layer = line_of(ATLAS, "model.layers.0")
    assert found[layer, layer + 2] is None
    assert found[line_of(ATLAS, "."), line_of(ATLAS, "lm_head")] is None
    lines = ATLAS.splitlines()
    comments = sorted(span for span, kind in found.items() if kind == types.FoldingRangeKind.Comment)
    assert comments[0] == (0, lines.index("") - 1), "the header"
    assert comments[-1] == (lines.index("# classes"), len(lines) - 1)
