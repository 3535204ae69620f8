"""What data breakpoints watch, as text, and what their conditions may say."""

from __future__ import annotations

import pytest

from dap_server.conditions.completion import complete
from dap_server.conditions.data_ids import DataIdError, is_data_id, parse_data_id
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.phases import check


@pytest.mark.parametrize(
    ("text", "kind", "name", "indexes"),
    [
        ("parameter:model.norm.weight", "parameter", "model.norm.weight", ()),
        ("parameter:w[0, 3, :]", "parameter", "w", ((0, 3, slice(None)),)),
        ("cache:3.keys[0][2][:, 1]", "cache", "3.keys", ((0, 2, slice(None), 1),)),
        ("activation:.[..., -1]", "activation", ".", ((..., -1),)),
        ("activation:model.layers.2[:, 1:3][0]", "activation", "model.layers.2", ((slice(None), slice(1, 3)), (0,))),
        ("probability:' Pa[r]is'[1]", "probability", "' Pa[r]is'", ((1,),)),
        ("probability: Paris", "probability", " Paris", ()),
        ("probability:[", "probability", "[", ()),
        ("probability:12", "probability", "12", ()),
        ("model.norm.weight[1::2]", None, "model.norm.weight", ((slice(1, None, 2),),)),
        ("' Paris'", None, "' Paris'", ()),
    ],
)
def test_a_data_id_says_what_is_watched_and_which_part(
    text: str, kind: str | None, name: str, indexes: tuple[object, ...]
) -> None:
    read = parse_data_id(text)
    assert (read.kind, read.name, read.indexes) == (kind, name, indexes)
    assert parse_data_id(str(read)) == read


@pytest.mark.parametrize("text", ["", " ", "a[x]", "parameter:a[]", "a[::0]", "a[1", "a[1]b", "parameter:a[1:2:3:4]"])
def test_what_is_none_is_told_with_examples(text: str) -> None:
    with pytest.raises(DataIdError, match=r"nothing to watch: write parameter:|is no index: write numbers and slices"):
        parse_data_id(text)


def test_a_place_with_a_prefix_is_no_data_id() -> None:
    assert is_data_id("cache:2.keys")
    assert not is_data_id("after:model.norm")
    assert not is_data_id("cache")


@pytest.mark.parametrize(
    "condition",
    ["change > 0.1", "value > 0.5 and step > 2", "before is not None and value < before", "value.abs().max() > 3"],
)
def test_conditions_speak_of_the_value(condition: str) -> None:
    assert check(parse_condition(condition), "data") == "before"


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("norm > 3", "`norm` is not known to a data breakpoint: write value, before or change (column 1)"),
        ("change > 1 and text == 'a'", "`text` is not known to a data breakpoint: write value, before or change"),
        ("chnge > 1", "no name 'chnge' here; did you mean 'change'"),
        ("change == 'a'", "'change' is a number"),
    ],
)
def test_what_they_cannot_say_is_told_with_its_column(condition: str, says: str) -> None:
    with pytest.raises(ConditionError) as error:
        check(parse_condition(condition, "data"), "data")
    assert says in str(error.value)
    assert "(column " in str(error.value)


def test_the_names_of_data_belong_to_no_place() -> None:
    with pytest.raises(ConditionError, match="`change` is not known at a module: it belongs to data breakpoints"):
        check(parse_condition("change > 1"), "module")


def test_their_names_are_offered() -> None:
    offered = [item.label for item in complete("", 1, "data")]
    assert {"value", "before", "change", "step", "layer", "sequence", "torch", "math"} <= set(offered)
    assert not {"norm", "output", "text", "entropy", "count"} & set(offered)
    assert "change" not in [item.label for item in complete("", 1, "module")]
