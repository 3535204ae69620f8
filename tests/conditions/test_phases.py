"""Where names are known, and on which side of a place a breakpoint with them stops."""

from __future__ import annotations

import pytest

from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.log_messages import parse_log_message
from dap_server.conditions.names import PlaceKind
from dap_server.conditions.phases import check
from dap_server.modelmap.places import Phase


@pytest.mark.parametrize(
    ("text", "place", "asked", "phase"),
    [
        ("step == 3", "module", None, "before"),
        ("step == 3", "module", "after", "after"),
        ("output.max() > 3", "module", None, "after"),
        ("output.max() > 3", "module", "after", "after"),
        ("hidden.max() > 3 and input.max() < 1", "module", None, "after"),
        ("norm > 100", "module", None, "before"),
        ("residual.norm() > 100", "module", "after", "after"),
        ("lens(1) == [' a']", "module", None, "before"),
        ("attention(2)[0] > 0.9", "module", None, "after"),
        ("output.max() > 3", "operation", None, "after"),
        ("input.max() > 3", "operation", None, "before"),
        ("entropy > 4", "logits", None, "after"),
        ("probs.max() < 0.1", "processor", None, "after"),
        ("entropy > 4", "sample", None, "before"),
        ("entropy > 4", "sample", "after", "after"),
        ("text == ' Paris'", "sample", None, "after"),
        ("text == ' Paris'", None, None, "after"),
        ("step > 3", None, None, "before"),
        ("sequence == 1", "step", None, "before"),
    ],
)
def test_the_names_decide_where_nothing_else_does(
    text: str, place: PlaceKind | None, asked: Phase | None, phase: Phase
) -> None:
    assert check(parse_condition(text), place, asked) == phase
    assert check(parse_log_message(f"so: {{{text}}}"), place, asked) == phase


def test_all_that_a_breakpoint_says_decides_together() -> None:
    condition, message = parse_condition("step > 3"), parse_log_message("the norm is {output.norm():.1f}")
    assert check(condition, "module", None, message) == "after"
    assert check(None, "module", None, message) == "after"
    assert check(None, "module", "after") == "after"
    assert check(None, None) == "before"


@pytest.mark.parametrize(
    ("text", "place", "asked", "column", "says"),
    [
        ("step > 3 and token == 5", "module", None, 14, "is not known at a module: set the breakpoint on `sample`"),
        ("token == 5", "logits", None, 1, "set the breakpoint on `sample`"),
        ("entropy > 3", "step", None, 1, "set the breakpoint on `logits`"),
        ("output.max() > 3", "sample", None, 1, "set the breakpoint on a module or an operation"),
        ("attention(2)[0] > 0.9", "operation", None, 1, "set the breakpoint on a module"),
        ("output.max() > 3", "module", "before", 1, "after the module only, and the breakpoint asks for before"),
        ("token == 5", "sample", "before", 1, "known after `sample` only"),
        ("entropy > 5", "logits", "before", 1, "known after `logits` only"),
        ("output.max() > 5", None, "before", 1, "known after the module only"),
        ("token == 5", None, "before", 1, "known after `sample` only"),
    ],
)  # fmt: skip
def test_what_a_place_does_not_know_is_an_error(
    text: str, place: PlaceKind | None, asked: Phase | None, column: int, says: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        check(parse_condition(text), place, asked)
    assert says in caught.value.message
    assert caught.value.column == column


def test_an_error_of_the_message_has_the_columns_of_the_message() -> None:
    with pytest.raises(ConditionError) as caught:
        check(parse_condition("step > 3"), "module", None, parse_log_message("é {token}"))
    assert (caught.value.text, caught.value.column, caught.value.end_column) == ("é {token}", 4, 9)
