"""Conditions that are worked out on the device, and read later: which can be, and what is run for them.

In Python `and`, `or`, `not` and a chain of comparisons ask at once whether something is true, and the host waits for
the device to say so. In deferred code they are calls, which join what is on the device there.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from itertools import count
from types import CodeType
from typing import TYPE_CHECKING, Protocol, TypeVar

from dap_server.conditions.deferred.parts import Waits, counted
from dap_server.conditions.deferred.reserved import FILE, LOGIC, PLACE
from dap_server.conditions.deferred.values import ValueKinds
from dap_server.conditions.names import NAMES

if TYPE_CHECKING:
    from dap_server.conditions.expressions import Condition


Truth = TypeVar("Truth", covariant=True)


class Logic(Protocol[Truth]):
    """What deferred code asks instead of whether something is true.

    A truth is a bool, or a tensor () of booleans where the value is on the device. What the host knows ends the asking
    as in Python; on the device everything is asked.
    """

    def truth(self, value: object) -> Truth:
        """Raises ValueError: it is a tensor of several elements."""
        ...

    def negated(self, value: object) -> Truth:
        """`not`."""
        ...

    def both(self, *sides: Callable[[], object]) -> Truth:
        """`and` of two or more."""
        ...

    def either(self, *sides: Callable[[], object]) -> Truth:
        """`or` of two or more."""
        ...

    def every(self, values: Iterable[object]) -> Truth:
        """`all`."""
        ...

    def some(self, values: Iterable[object]) -> Truth:
        """`any`."""
        ...


def why_at_once(condition: Condition) -> str | None:
    """Why the host has to know the values of a condition where they are, in one line; None when it can be deferred.

    A deferred condition takes `norm`, `entropy`, `prob` and `token` as tensors () in float64. Its code may come to
    parts that Python would not have come to: those behind what only the device knows.
    """
    try:
        ValueKinds({use.name: NAMES[use.name] for use in condition.uses}).is_on_device(condition.tree.body)
        _ = condition.deferred  # compiled here, where the stack is not deep
    except Waits as why:
        return str(why)
    except RecursionError:
        return "too many brackets or operators inside of each other"
    return None


def deferred_code(condition: Condition) -> CodeType:
    """The same expression, for a condition that can be deferred."""
    return code_of(_Rewriting().test(condition.tree.body), PLACE, LOGIC)


def code_of(expression: ast.expr, *names: str) -> CodeType:
    """The code of a function that gives the value of an expression, with arguments of these names.

    To call a function is several times as quick as to evaluate an expression with variables.
    """
    function = _function(expression, [ast.copy_location(ast.arg(name), expression) for name in names])
    code: CodeType = eval(compile(ast.Expression(function), FILE, "eval")).__code__
    return code


class _Rewriting:
    """Makes what asks whether something is true a call. What is only computed with is left alone: the host knows it."""

    def __init__(self) -> None:
        self._numbers = count()

    def test(self, node: ast.expr) -> ast.expr:
        """A part that is asked whether it is true."""
        match node:
            case ast.BoolOp(op=operator, values=values):
                name = "both" if isinstance(operator, ast.And) else "either"
                return _call(node, name, *(_later(self.test(value)) for value in values))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return _call(node, "negated", self.test(operand))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return _at(node, ast.IfExp(test, self.test(body), self.test(orelse)))
            case ast.Compare(ops=[_, _, *_]):
                return self._chain(node)
        if (parts := counted(node)) is not None:
            assert isinstance(node, ast.Call)
            assert isinstance(node.func, ast.Name)
            return _call(node, "every" if node.func.id == "all" else "some", self._parts(parts))
        return node

    def _parts(self, parts: ast.expr) -> ast.expr:
        match parts:
            case ast.GeneratorExp(elt=element, generators=generators):
                return _at(parts, ast.GeneratorExp(self.test(element), generators))
            case ast.ListComp(elt=element, generators=generators):
                return _at(parts, ast.ListComp(self.test(element), generators))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return _at(parts, ast.List([self.test(element) for element in elements], ast.Load()))
        raise AssertionError(parts)

    def _chain(self, node: ast.Compare) -> ast.expr:
        """`a < b < c`, where b is computed once, and c if a < b."""
        links = list(zip(node.ops, node.comparators, strict=True))
        return self._with(node, node.left, lambda first: self._links(node, first, links))

    def _links(self, node: ast.Compare, left: ast.expr, links: list[tuple[ast.cmpop, ast.expr]]) -> ast.expr:
        (operator, comparator), *others = links

        def compared(right: ast.expr) -> ast.expr:
            pair = _at(node, ast.Compare(left, [operator], [right]))
            return _call(node, "both", _later(pair), _later(self._links(node, right, others))) if others else pair

        return self._with(node, comparator, compared)

    def _with(self, node: ast.expr, value: ast.expr, body: Callable[[ast.expr], ast.expr]) -> ast.expr:
        """An expression in which a value has a name, so that it is computed once."""
        name = f".{next(self._numbers)}"
        argument = ast.copy_location(ast.arg(name), node)
        function = _function(body(_at(node, ast.Name(name, ast.Load()))), [argument])
        return _at(node, ast.Call(function, [value], []))


def _call(node: ast.expr, name: str, *arguments: ast.expr) -> ast.expr:
    logic = _at(node, ast.Name(LOGIC, ast.Load()))
    return _at(node, ast.Call(_at(node, ast.Attribute(logic, name, ast.Load())), list(arguments), []))


def _later(node: ast.expr) -> ast.expr:
    return _function(node, [])


def _function(body: ast.expr, arguments: list[ast.arg]) -> ast.expr:
    given = ast.arguments(posonlyargs=[], args=arguments, kwonlyargs=[], kw_defaults=[], defaults=[])
    return _at(body, ast.Lambda(given, body))


def _at(node: ast.expr, made: ast.expr) -> ast.expr:
    return ast.copy_location(made, node)
