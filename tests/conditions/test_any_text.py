"""Whatever somebody types is read, or is an error with a column of the text; it never ends what reads it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dap_server.conditions.completion import complete
from dap_server.conditions.diagnosis import diagnose
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.hits import parse_hit_condition
from dap_server.conditions.log_messages import parse_log_message
from dap_server.conditions.names import NAMES, PLACES, PlaceKind
from dap_server.conditions.phases import check

_WORDS = [
    *NAMES,
    *("==", "=", "<", ">=", "!", "!=", ":=", "&&", "|", "&", "%", "-", "**", "*", ".", ",", ":", ";", "\\", "@", "~"),
    *(
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "{{",
        "}}",
        "'",
        '"',
        "'''",
        '"""',
        "'a'",
        "'\\d'",
        "f'{",
        "f'{x}'",
        "rb'",
        "é",
        "𝔸",
    ),
    *("and", "or", "not", "in", "is", "if", "else", "for", "lambda", "async", "await", "yield", "import", "None"),
    *("3", "0.5", "1e9", "07", "0x", "1_", "10j", "...", "_", "__class__", "\n", "\r", "\t", "\x0c", " ", "\0", "#"),
]
WORDY = st.lists(st.sampled_from(_WORDS), max_size=14).flatmap(
    lambda words: st.sampled_from([" ", ""]).map(lambda between: between.join(words))
)
TEXTS = st.one_of(WORDY, st.text(max_size=40), st.text(alphabet="()[]{}'\"\\!:=ab1 \n%é", max_size=30))
ANY_PLACE = st.sampled_from([None, *PLACES])
ANY_PHASE = st.sampled_from([None, "before", "after"])


def _error(parse: Callable[[], object]) -> ConditionError | None:
    try:
        parse()
    except ConditionError as error:
        return error
    return None


def _is_within(error: ConditionError, text: str) -> bool:
    return error.text == text and 1 <= error.column <= error.end_column <= len(text) + 1


@pytest.mark.parametrize("parse", [parse_condition, parse_hit_condition, parse_log_message])
@given(text=TEXTS)
@example(text='"x" is 1')
@example(text="'\\d'")
@example(text="'\\777'")
@example(text="1if 1else 2")
@example(text="1()")
@example(text="[1, 2]['a']")
@example(text="'" + "\\" * 99)
@example(text="9" * 5_000)
@example(text="1e" + "9" * 300)
@example(text="{" * 300)
@example(text="{x!r:{y}}")
@example(text="'\ud800'")
@example(text="\ufeffstep")
@example(text="lambda __debug__: 1")
@example(text="[x async for x in top(3)]")
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_is_an_error_with_its_column(parse: Callable[[str], object], text: str) -> None:
    error = _error(lambda: parse(text))
    assert error is None or (_is_within(error, text) and error.message)


@given(text=TEXTS, place=ANY_PLACE, phase=ANY_PHASE, kind=st.sampled_from(["condition", "hit", "log"]))
@settings(max_examples=300, deadline=None)
def test_what_is_shown_while_typing_is_what_is_said_when_set(text: str, place, phase, kind) -> None:  # type: ignore[no-untyped-def]
    def set_it() -> None:
        if kind == "hit":
            parse_hit_condition(text)
        else:
            check(parse_condition(text) if kind == "condition" else parse_log_message(text), place, phase)

    error = _error(set_it)
    problems = diagnose(text, place, phase, kind)
    if error is None:
        assert problems == []
    else:
        assert (error.column, error.end_column, error.message) in problems
        assert problems == sorted(problems)


@given(text=TEXTS, column=st.integers(-2, 45), place=ANY_PLACE, kind=st.sampled_from(["condition", "hit", "log"]))
@settings(max_examples=300, deadline=None)
def test_what_is_offered_replaces_the_word_at_the_column(text: str, column: int, place: PlaceKind | None, kind) -> None:  # type: ignore[no-untyped-def]
    for offered in complete(text, column, place, None, kind):
        at = max(1, min(column, len(text) + 1))
        assert 1 <= offered.column <= at <= offered.end_column <= len(text) + 1
        assert offered.label.startswith(text[offered.column - 1 : at - 1])


_VALUES = {"step": 3, "layer": 1, "norm": 2.5, "text": " Paris", "path": "model.layers.1"}
_LEAVES = st.sampled_from(["step", "layer", "norm", "2", "0.5", "len(text)", "int(norm)", "(step)", "path.count('.')"])


def _larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(parts, st.sampled_from(["+", "-", "*", "<", "==", "and", "or", "in"]), parts)
    return st.one_of(
        two.map(lambda t: f"({t[0]} in ({t[2]}, 3))" if t[1] == "in" else f"({t[0]} {t[1]} {t[2]})"),
        parts.map(lambda part: f"(not {part})"),
        st.tuples(parts, parts).map(lambda t: f"sum(x + {t[0]} for x in [step, {t[1]}] if x)"),
        st.tuples(parts, parts).map(lambda t: f"(lambda step: {t[0]})({t[1]})"),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(parts, parts).map(lambda t: f"max({t[0]}, len([norm for norm in (1, {t[1]})]))"),
    )


@given(text=st.recursive(_LEAVES, _larger, max_leaves=12))
@settings(max_examples=150, deadline=None)
def test_a_condition_means_what_python_means(text: str) -> None:
    if _error(lambda: parse_condition(text)) is not None:
        return  # what is always true, and such
    assert parse_condition(text).value(_VALUES) == eval(text, dict(_VALUES))
