from __future__ import annotations

import pytest

from dap_server.conditions.completion import Completion, complete
from dap_server.conditions.errors import TextKind


def _offered(marked: str, kind: TextKind = "condition") -> list[Completion]:
    """At the | of a text, on `sample`."""
    column = marked.index("|") + 1
    return complete(marked.replace("|", ""), column, "sample", None, kind)


@pytest.mark.parametrize(
    ("marked", "labels"),
    [
        ("ent|", ["entropy"]),
        ("step == 3 and pro|", ["probs", "prob"]),
        ("math.lo|", ["log", "log10", "log1p", "log2"]),
        ("re.f|", ["findall", "finditer", "fullmatch"]),
        ("gen|", ["generated"]),
        ("top(ma|", ["math", "map", "max"]),
        ("torch.no|", []),
        ("text.st|", []),
        ("text == 'ent|", []),
        ("text == 'ent|'", []),
        ("# ent|", []),
        ("3|", []),
        ("step is no|", ["not"]),
        ("é == ent|ropy > 3", ["entropy"]),
    ],
)
def test_what_begins_so_is_offered(marked: str, labels: list[str]) -> None:
    assert [offered.label for offered in _offered(marked)] == labels


def test_an_offer_takes_the_place_of_the_word_and_says_what_it_is() -> None:
    (offered,) = _offered("é == ent|ropy > 3")
    assert (offered.column, offered.end_column) == (6, 13)
    assert offered.signature == "entropy: float"
    assert "nats" in offered.documentation


def test_with_nothing_typed_the_names_of_the_place_are_offered() -> None:
    labels = {offered.label for offered in _offered("|")}
    assert {"token", "text", "prob", "entropy", "step"} <= labels
    assert not {"output", "attention", "abs"} & labels


def test_what_the_phase_does_not_know_is_not_offered() -> None:
    assert [offered.label for offered in complete("tok", 4, "sample", "before")] == []
    assert [offered.label for offered in complete("tok", 4, "sample", "after")] == ["token"]
    assert [offered.label for offered in complete("tok", 4)] == ["token"]


@pytest.mark.parametrize(
    ("marked", "labels"),
    [
        ("ent|", []),
        ("{ent|", ["entropy"]),
        ("{ent|}", ["entropy"]),
        ("é {step} {pro| and more", ["probs", "prob"]),
        ("{{ent|", []),
        ("{step} ent|", []),
        ("{norm:ent|", []),
        ("{norm!r|", []),
        ("{'ent|", []),
        ("{top(3)[ent|", ["entropy"]),
    ],
)
def test_in_a_log_message_names_are_offered_inside_of_braces(marked: str, labels: list[str]) -> None:
    assert [offered.label for offered in _offered(marked, "log")] == labels


def test_a_hit_condition_has_no_names() -> None:
    assert complete("st", 3, "sample", None, "hit") == []
