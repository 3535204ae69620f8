from __future__ import annotations

import pytest

from dap_server.conditions.errors import ConditionError
from dap_server.conditions.hits import parse_hit_condition


@pytest.mark.parametrize(
    ("text", "hits"),
    [
        ("5", {5}),
        (" == 5", {5}),
        ("= 5", {5}),
        ("===5", {5}),
        (">= 5", {5, 6, 7, 8, 9, 10, 11, 12}),
        (">5", {6, 7, 8, 9, 10, 11, 12}),
        ("<= 2", {1, 2}),
        ("< 2", {1}),
        ("!= 3", {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12}),
        ("% 5", {5, 10}),
        ("%5 == 0 ", {5, 10}),
        ("% 5 == 1", {1, 6, 11}),
        ("% 2 != 0", {1, 3, 5, 7, 9, 11}),
        ("hits >= 11", {11, 12}),
        ("hit % 6", {6, 12}),
        ("1_000", set()),
    ],
)
def test_which_of_twelve_hits_stop(text: str, hits: set[int]) -> None:
    condition = parse_hit_condition(text)
    assert {count for count in range(1, 13) if condition.is_met(count)} == hits
    assert condition.text == text


@pytest.mark.parametrize(
    ("text", "column", "end_column", "says"),
    [
        ("", 1, 1, "is missing"),
        ("  ", 1, 3, "is missing"),
        (" five", 2, 6, "write a number"),
        ("5 times", 3, 8, "'times' is too much"),
        (">= 5 and step", 6, 14, "'and step' is too much"),
        (">= 5 == 0", 6, 10, "'== 0' is too much"),
        ("% 0", 3, 4, "divided by 0"),
        ("% 5 == 5", 8, 9, "less than 5"),
        ("0", 1, 2, "counted from 1"),
        ("< 1", 3, 4, "no hit is less"),
        ("-3", 1, 3, "write a number"),
        ("2.5", 2, 4, "'.5' is too much"),
        ("9" * 30, 1, 31, "will ever be counted"),
    ],
)
def test_what_is_wrong_is_said_with_its_columns(text: str, column: int, end_column: int, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_hit_condition(text)
    assert says in caught.value.message
    assert (caught.value.column, caught.value.end_column) == (column, end_column)
