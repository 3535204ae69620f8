"""Deferred conditions mean what Python means, and read nothing from the device."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dap_server.conditions.deferred.deferring import why_at_once
from dap_server.conditions.expressions import Condition, parse_condition
from dap_server.engine.analysis.conditions.judge import RAISED, only_looks
from dap_server.engine.analysis.conditions.logic import DeviceLogic, is_true
from tests.conditions.deferrals import AT_ONCE, DEFERRED
from tests.engine.analysis.conditions.reads import Reads

NUMBERS = ("norm", "entropy", "prob", "token")
LOGIC = DeviceLogic()


def at_hand(**changed: object) -> dict[str, object]:
    """The names of a place, as they are judged at once."""
    torch.manual_seed(0)
    values: dict[str, object] = {
        "step": 3,
        "layer": 1,
        "path": "model.layers.1.mlp",
        "phase": "after",
        "rank": 0,
        "sequence": 0,
        "norm": 2.5,
        "entropy": 1.5,
        "prob": 0.25,
        "token": 1234,
        "text": " Paris",
        "generated": "It is Paris",
        "torch": torch,
        "input": torch.randn(2, 3, 4),
        "output": torch.randn(2, 3, 4),
        "logits": torch.randn(6),
        "attention": lambda head: torch.softmax(torch.randn(5, generator=torch.Generator().manual_seed(head)), 0),
        "lens": lambda k: [" Paris"] * k,
        "top": lambda k: [(" Paris", 0.5)] * k,
    }
    values["hidden"] = values["residual"] = values["output"]
    values["probs"] = torch.softmax(values["logits"], -1)  # type: ignore[arg-type]
    return {**values, **changed}


def deferred(names: Mapping[str, object]) -> dict[str, object]:
    """The same, as deferred code is given them."""
    numbers = {name: torch.tensor(names[name], dtype=torch.float64) for name in NUMBERS if name in names}
    return {**names, **numbers}


def without_values(names: Mapping[str, object]) -> dict[str, object]:
    """The same on a device that has no values: what is read raises."""
    there = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in names.items()}
    return {**there, "attention": lambda head: torch.empty(5, device="meta")}


def answered(condition: Condition, names: Mapping[str, object]) -> bool:
    return is_true(condition.value(names))


@pytest.mark.parametrize("text", DEFERRED)
def test_nothing_is_read_and_the_answer_is_pythons(text: str) -> None:
    condition, names = parse_condition(text), at_hand()
    there = deferred(names)
    with Reads() as reads:
        flag = condition.flag(there, LOGIC)
    assert reads.seen == set()
    assert isinstance(flag, bool) or (flag.shape == () and flag.dtype is torch.bool)
    assert bool(flag) == answered(condition, names)
    assert only_looks(condition.code)


@pytest.mark.parametrize("text", DEFERRED)
def test_it_needs_no_values(text: str) -> None:
    flag = parse_condition(text).flag(without_values(deferred(at_hand())), LOGIC)
    assert isinstance(flag, bool) or flag.is_meta


@pytest.mark.gpu
def test_no_gpu_is_waited_for() -> None:
    names = deferred(at_hand())
    there = {name: value.cuda() if isinstance(value, Tensor) else value for name, value in names.items()}
    weights = torch.softmax(torch.randn(4, 5, device="cuda"), -1)
    there["attention"] = lambda head: weights[head]
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    waited = {}
    for text in DEFERRED:
        try:
            flag = parse_condition(text).flag(there, LOGIC)
        except RuntimeError as error:
            waited[text] = str(error)
        else:
            assert isinstance(flag, bool) or flag.is_cuda
    torch.cuda.set_sync_debug_mode(before)
    assert waited == {}


OTHERWISE = {
    "text == ' Paris'",
    "re.search('Paris', generated)",
    "any(t == ' Paris' for t, p in top(3))",
    "' Paris' in lens(5)",
    "norm > 1 and text == ' a'",
    "norm % step == 1",
    "step / norm > 1",
    "norm ** 0.5 > 1",
    "output.max() > norm",
    "output.clamp(max=norm).sum() > 1",
    "output[[0, 0]].sum() > 3",
    "output.zero_().sum() == 0",
    "torch.rand(3).max() > 1",
    "torch.linalg.norm(output) > 3",
    "torch.abs(output, out=output).sum() > 3",
    "output.norm(p='nuc') > 3",
    "output.max(-1)",
    "norm.is_integer()",
    "str(norm) == '3.0'",
    "(lambda x: x > 3)(norm)",
    "(lambda: norm > 3)()",
    "{norm: 1}[norm] == 1",
    "any(any([norm]) for any in (len,))",
}
"""Not deferred for other reasons: they need a text, are Python's arithmetic, write, draw, move a list to the device, or
cannot be followed."""


@pytest.mark.parametrize("text", sorted(AT_ONCE.keys() - OTHERWISE))
def test_what_is_not_deferred_would_read(text: str) -> None:
    condition, names = parse_condition(text), deferred(at_hand())
    with Reads() as reads:
        try:
            answered(condition, names)
        except RAISED:
            pass  # a tensor where Python wants a number
    try:
        answered(condition, without_values(names))
        raised = False
    except RAISED:
        raised = True
    assert reads.seen or raised


# --- generated conditions

FLOATS = st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.5, -3.25, 1e300, 5e-324, math.inf, -math.inf, math.nan])
LIMITS = st.sampled_from(["0", "0.5", "2", "-3.25", "1e300", "step", "layer", "math.pi", "float('nan')", "(step + 1)"])
TENSORS = st.sampled_from(
    ["output", "input.abs()", "output[0]", "(output - input)", "torch.minimum(output, input)", "hidden.cumsum(-1)"]
)


def _numbers(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, st.sampled_from("+-*"), parts).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(parts, st.sampled_from(["/", "//", "%"]), st.sampled_from(["2", "-3", "0.7"])).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        parts.map(lambda part: f"abs(-{part})"),
    )


NUMBER = st.recursive(st.one_of(st.sampled_from(NUMBERS), LIMITS), _numbers, max_leaves=4)
COMPARISON = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
ONE = st.tuples(TENSORS, st.sampled_from(["max", "min", "sum", "mean", "argmax"])).map(lambda t: f"{t[0]}.{t[1]}()")
LEAVES = st.one_of(
    NUMBER,
    ONE,
    st.tuples(NUMBER, COMPARISON, NUMBER).map(" ".join),
    st.tuples(NUMBER, COMPARISON, NUMBER, COMPARISON, NUMBER).map(" ".join),
    st.tuples(LIMITS, COMPARISON, ONE, COMPARISON, ONE).map(" ".join),
    st.tuples(TENSORS, COMPARISON, LIMITS, st.sampled_from(["any", "all"])).map(
        lambda t: f"({t[0]} {t[1]} {t[2]}).{t[3]}()"
    ),
    st.sampled_from(
        ["step == 3", "layer is None", "path == 'a'", "True", "(path and step) == 3", "torch.isnan(input).any()"]
    ),
)


def _larger(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(parts, st.sampled_from(["and", "or"]), parts).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(parts, parts, parts).map(lambda t: f"({t[0]} and {t[1]} and {t[2]})"),
        parts.map(lambda part: f"(not {part})"),
        st.tuples(parts, st.sampled_from(["step > 2", "path", "layer is None"]), parts).map(
            lambda t: f"({t[0]} if {t[1]} else {t[2]})"
        ),
        st.tuples(st.sampled_from(["any", "all"]), parts, parts).map(lambda t: f"{t[0]}([{t[1]}, {t[2]}])"),
        st.tuples(st.sampled_from(["any", "all"]), parts, NUMBER).map(
            lambda t: f"{t[0]}({t[1]} or {t[2]} > s for s in range(3))"
        ),
    )


VALUES = st.fixed_dictionaries(
    {
        **dict.fromkeys(("norm", "entropy", "prob"), FLOATS),
        "token": st.sampled_from([0, 1, 7, 1234, 248_000]),
        "step": st.integers(0, 4),
        "layer": st.sampled_from([0, 1]),
        "output": st.lists(FLOATS, min_size=4, max_size=4).map(lambda v: torch.tensor(v).reshape(2, 2)),
        "input": st.lists(FLOATS, min_size=4, max_size=4).map(lambda v: torch.tensor(v).reshape(2, 2)),
    }
)


@given(text=st.recursive(LEAVES, _larger, max_leaves=8), changed=VALUES)
@settings(max_examples=600, deadline=None)
def test_a_deferred_condition_means_what_it_means_at_once(text: str, changed: dict[str, object]) -> None:
    condition, names = _read(text), at_hand(**changed)
    names["hidden"] = names["output"]
    if condition is None:
        return
    with Reads() as reads:
        flag = condition.flag(deferred(names), LOGIC)
    assert reads.seen == set()
    assert bool(flag) == answered(condition, names)


def _read(text: str) -> Condition | None:
    """None for what is no condition, such as one that is always true, and for what is judged at once."""
    try:
        condition = parse_condition(text)
    except ValueError:
        return None
    return condition if why_at_once(condition) is None else None


# --- the logic itself


def test_what_the_host_knows_ends_the_asking() -> None:
    asked: list[str] = []

    class Names(dict[str, object]):
        def __getitem__(self, name: str) -> object:
            asked.append(name)
            return super().__getitem__(name)

    names = Names(deferred(at_hand()))
    assert parse_condition("step == 4 and norm > 1").flag(names, LOGIC) is False
    assert parse_condition("step == 3 or norm > 1").flag(names, LOGIC) is True
    assert parse_condition("5 < step < norm").flag(names, LOGIC) is False
    assert parse_condition("norm > 100 or step == 3").flag(names, LOGIC) is True
    assert asked == ["step", "step", "step", "norm", "step"]


@pytest.mark.parametrize("text", ["output > 3", "step == 3 and output", "not output", "1 < output < 3"])
def test_of_several_elements_nothing_is_true(text: str) -> None:
    condition = parse_condition(text.replace("output", "output.abs()"))  # of `output` alone it is known when it is read
    with pytest.raises(ValueError, match=r"a tensor of shape \(2, 3, 4\) is neither true nor false: use \.any\(\)"):
        condition.flag(deferred(at_hand()), LOGIC)


def test_what_is_raised_is_told_with_its_columns() -> None:
    condition = parse_condition("step == 3 and (norm > 1 or output[7].max() > 1)")
    with pytest.raises(IndexError) as caught:
        condition.flag(deferred(at_hand()), LOGIC)
    error = condition.blame(caught.value)
    assert (error.column, error.end_column) == (28, 37)
    assert error.text[error.column - 1 : error.end_column - 1] == "output[7]"
