"""Whatever stands in a map: every answer comes, and its positions lie in the text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lsprotocol import types

from dap_server.language import completion, conditions, hints, hovers, navigation, outline, regenerate, tokens
from dap_server.language.diagnostics import diagnostics
from dap_server.language.documents import Document
from dap_server.language.fresh_maps import as_model_map
from dap_server.language.text import Text
from dap_server.modelmap.text import read_map, update
from tests.language.client import MAP_URI
from tests.language.maps import ATLAS
from tests.language.test_regenerate import apply

PIECES = [
    *("model", "layers", ".", "..", "0", "12", "  ", " ", "\t", "\n", "\r\n", "\r", "#", "# ", ":", "%23", "\0", "é"),
    *("# model: a/b", "# classes", "# parameters: 12", "# A: b.c", "(B, T)", " → ", "->", "(", ")", "1,234", "5 MFLOP"),
    *("a list of 2", "not called", "step", "sample", "TopKLogitsWarper", "Linear", "  # mine", "😋", "\u2028", "\x0c"),
    *("\ud83d", "\ufeff"),
]
FRESH = read_map(ATLAS)


@st.composite
def texts(draw: st.DrawFn) -> str:
    pieces = "".join(draw(st.lists(st.sampled_from(PIECES), max_size=40)))
    if draw(st.booleans()):
        return pieces
    at = draw(st.integers(0, len(ATLAS)))
    return ATLAS[:at] + pieces + ATLAS[at + draw(st.integers(0, 200)) :]


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(texts(), st.sampled_from(["utf-8", "utf-16", "utf-32"]), st.data())
def test_every_feature_answers_with_positions_in_the_text(source: str, encoding: str, data: st.DataObject) -> None:
    document = Document(MAP_URI, Text(source, encoding))
    at = types.Position(data.draw(st.integers(0, len(document.text.lines) + 1)), data.draw(st.integers(0, 90)))
    everything = types.Range(types.Position(0, 0), types.Position(9999, 0))
    problems = diagnostics(document, None, FRESH)
    answers = [
        outline.symbols(document),
        outline.folding_ranges(document),
        hovers.hover(document, at),
        completion.completions(document, at, FRESH),
        conditions.name_completions(document, at),
        navigation.references(document, at),
        navigation.highlights(document, at),
        navigation.links(document, None),
        hints.inlay_hints(document, everything, FRESH),
        regenerate.code_actions(document, problems, None),
        problems,
    ]
    navigation.definition(document, at, None, encoding)
    for position in positions(answers):
        assert 0 <= position.line < len(document.text.lines)
        assert position.character <= document.text.units(document.text.lines[position.line])
    numbers = tokens.semantic_tokens(document).data
    assert all(number >= 0 for number in numbers)
    assert all(length > 0 for length in numbers[2::5])


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(texts())
def test_a_map_made_anew_from_any_text_is_the_models(source: str) -> None:
    document = Document(MAP_URI, Text(source))
    new = update(source, as_model_map(FRESH))
    assert Text(apply(source, regenerate.edits(document, new))).lines == Text(new).lines


def positions(thing: Any) -> Iterator[types.Position]:
    if isinstance(thing, types.Position):
        yield thing
    elif isinstance(thing, list | tuple):
        for item in thing:
            yield from positions(item)
    elif hasattr(thing, "__attrs_attrs__"):
        for field in thing.__attrs_attrs__:
            yield from positions(getattr(thing, field.name))
