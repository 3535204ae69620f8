"""Which conditions can be left to the device, and what is said of the others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from dap_server.conditions.deferred.deferring import why_at_once
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from tests.conditions.deferrals import AT_ONCE, DEFERRED
from tests.conditions.test_any_text import TEXTS


@pytest.mark.parametrize("text", DEFERRED)
def test_what_torch_computes_is_left_to_the_device(text: str) -> None:
    assert why_at_once(parse_condition(text)) is None


@pytest.mark.parametrize(("text", "why"), AT_ONCE.items())
def test_what_needs_the_number_is_said_in_one_line(text: str, why: str) -> None:
    assert why_at_once(parse_condition(text)) == why


def test_a_long_part_is_cut_short() -> None:
    why = why_at_once(parse_condition("output[output.abs() > output.abs().mean() * 30 + 200].sum() > 3"))
    assert (
        why == "`output.abs() > output.abs().mean() * 30…` in [ ] has to be read: write torch.where(), or torch.take()"
    )


@given(text=TEXTS)
@settings(max_examples=300, deadline=None)
def test_of_any_condition_it_is_known_whether_it_can_be(text: str) -> None:
    try:
        condition = parse_condition(text)
    except ConditionError:
        return
    why = why_at_once(condition)
    assert why is None or (why and "\n" not in why and ".place" not in why)


@pytest.mark.parametrize("text", ["step" + "+1" * 90 + " == 3", "not " * 80 + "norm", " < ".join(["norm"] * 90)])
def test_what_is_nested_deep_is_read_or_judged_at_once(text: str) -> None:
    why_at_once(parse_condition(text))
