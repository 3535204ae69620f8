"""Comparisons and tests that cannot mean what somebody wanted: their sides are known to never fit."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from dap_server.conditions.names import NAMES, Name

NameOf = Callable[[ast.expr], Name | None]
"""The name of the place that a node is, if it is one."""

Wrong = tuple[ast.expr, str]
"""A part of an expression, and what is wrong with it."""

_MANY = {"hidden", "residual", "logits", "probs", "attention"}
"""What always has more than one element."""

_LITERALS = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.JoinedStr)


def comparison_problems(node: ast.Compare, name_of: NameOf) -> Iterator[Wrong]:
    sides = [node.left, *node.comparators]
    for left, operator, right in zip(sides, node.ops, sides[1:], strict=False):
        if isinstance(operator, ast.Is | ast.IsNot) and (is_valued(left) or is_valued(right)):
            yield right, f"'is' does not compare values: write '{'==' if isinstance(operator, ast.Is) else '!='}'"
        yield from _pair(left, operator, right, name_of)
        yield from _pair(right, operator, left, name_of)
    if len(node.ops) > 1 and any(_is_bit_operation(side) for side in sides[1:-1]):
        yield node, "'&' and '|' bind stronger than comparisons: write 'and' or 'or'"


def alternative_problems(node: ast.BoolOp) -> Iterator[Wrong]:
    """`text == 'a' or 'b'`."""
    if not any(isinstance(value, ast.Compare) for value in node.values):
        return
    for value in node.values:
        if isinstance(value, ast.Constant) and is_valued(value):
            yield value, "compare each one: text == 'a' or text == 'b', or text in ('a', 'b')"


def test_problems(node: ast.expr) -> Iterator[Wrong]:
    """Of what a condition is true by: what is neither true nor false, or always the same."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from test_problems(value)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from test_problems(node.operand)
    elif isinstance(node, ast.Constant) and is_valued(node):
        yield node, f"always {bool(node.value)}: compare something with it, or make it the hit condition"
    elif isinstance(node, ast.Call) and (name := _called(node)) in ("lens", "top"):
        yield node, f"{name}(k) is a list, and always true: compare what is in it"
    elif (name := _many(node)) is not None:
        yield node, _what_of_many(name, node)
    elif isinstance(node, ast.Compare) and isinstance(node.ops[0], _ORDER):
        for side in (node.left, *node.comparators):
            if (name := _many(side)) is not None:
                yield node, _what_of_many(name, node)
                return


_ORDER = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE)


def is_valued(node: ast.expr) -> bool:
    """Whether a node is a literal other than True, False, None and `...`."""
    if isinstance(node, ast.Constant):
        return not (node.value is None or node.value is ... or isinstance(node.value, bool))
    return isinstance(node, _LITERALS)


def _pair(side: ast.expr, operator: ast.cmpop, other: ast.expr, name_of: NameOf) -> Iterator[Wrong]:
    others = other.elts if isinstance(other, ast.Tuple | ast.List | ast.Set) else [other]
    name = name_of(side)
    for value in others:
        if isinstance(value, ast.Constant) and (message := _never(name, value.value) if name else None):
            yield value, message
    function = name_of(side.func) if isinstance(side, ast.Call) else None
    if function is None or not isinstance(other, ast.Constant) or not isinstance(other.value, str):
        return
    if function.name == "lens" and not isinstance(operator, ast.In | ast.NotIn):
        yield side, f"lens(k) is a list of texts: write {other.value!r} in {_short(side)}"
    elif function.name == "top":
        yield side, f"top(k) is a list of pairs: write any(t == {other.value!r} for t, p in {_short(side)})"


def _never(name: Name, value: object) -> str | None:
    """Why a name never compares with a constant."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name.kind in ("integer", "number") and isinstance(value, str):
        return _no_text(name, value)
    if name.kind == "text" and is_number:
        return f"'{name.name}' is a text: write {str(value)!r}{', or for an id token' if name.name == 'text' else ''}"
    if name.name == "phase" and isinstance(value, str) and value not in ("before", "after"):
        return "phase is 'before' or 'after'"
    if name.name == "prob" and isinstance(value, int | float) and value > 1:
        return f"'prob' is from 0 to 1{f': write {value / 100:g}' if value <= 100 else ''}"
    return None


def _no_text(name: Name, value: str) -> str:
    if name.name == "token":
        return f"'token' is an id, a number: write text == {value!r}"
    try:
        float(value)
    except ValueError:
        return f"'{name.name}' is a number, and never equal to a text"
    return f"'{name.name}' is a number: write {value.strip()}"


def _many(node: ast.expr) -> str | None:
    """The name of many elements that a value, or arithmetic on it, has."""
    if isinstance(node, ast.Name):
        return node.id if node.id in _MANY else None
    if isinstance(node, ast.Call):
        return name if (name := _called(node)) in _MANY else None
    if isinstance(node, ast.BinOp):
        return _many(node.left) or _many(node.right)
    return _many(node.operand) if isinstance(node, ast.UnaryOp) else None


def _called(node: ast.Call) -> str | None:
    return node.func.id if isinstance(node.func, ast.Name) and node.func.id in NAMES else None


def _what_of_many(name: str, node: ast.expr) -> str:
    part = _short(node)
    if name == "attention":
        return (
            "attention(head) is a weight for every position: write attention(2)[0] > 0.9, or attention(2).max() > 0.9"
        )
    if not isinstance(node, ast.Compare):
        return f"'{name}' has many values, and is neither true nor false: compare one, or its {name}.max()"
    return f"'{name}' has many values: write ({part}).any() or ({part}).all()"


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else "…"


def _is_bit_operation(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr)
