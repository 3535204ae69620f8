"""What a condition may say beyond being Python: its names, what they are, and what is always a mistake."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from dap_server.conditions.comparisons import Wrong, alternative_problems, comparison_problems, test_problems
from dap_server.conditions.errors import Problem
from dap_server.conditions.names import BUILTINS, NAMES, Name, PlaceKind
from dap_server.conditions.positions import Positions, Span
from dap_server.protocol.errors import did_you_mean

_REFUSED = {
    "print": "'print' is for log messages: write what you want to see there, as in {norm}",
    "model": "a condition sees the values of its place, not the model: the debug console has 'model'",
    "tokenizer": "a condition sees the values of its place: 'text' is the chosen token's, 'top(k)' has the likely ones",
    "module": "a condition sees the values of its place: 'path' and 'layer' say which module it is",
    "inputs": "write 'input': the first tensor that is given to the module",
    "outputs": "write 'output': the first tensor that the module returned",
    "scores": "write 'logits': the scores of the next token",
    "position": "write 'step': the number of the token that is made, from 0",
    "true": "write 'True'",
    "false": "write 'False'",
    "null": "write 'None'",
    "none": "write 'None'",
}
_STATEMENT_LIKE: dict[type[ast.AST], str] = {
    ast.NamedExpr: "nothing can be assigned here: to compare, write '=='",
    ast.Await: "'await' waits for nothing here: write the value itself",
    ast.Yield: "'yield' has no meaning here: write the value itself",
    ast.YieldFrom: "'yield' has no meaning here: write the value itself",
}
_LITERALS = (ast.Constant, ast.Tuple, ast.List, ast.Dict, ast.Set, ast.JoinedStr)
_CONTAINERS = (*_LITERALS, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


class Use(NamedTuple):
    """One appearance of a name of the place."""

    name: str
    span: Span


class Reader(ast.NodeVisitor):
    """Reads the tree of an expression.

    Attributes:
        uses: the names of the place, in reading order; those that the expression binds itself are left alone.
        free: the nodes of these names.
        problems: what is wrong.
    """

    def __init__(self, positions: Positions, place: PlaceKind | None = None) -> None:
        """Names of a filter are offered only where `place` is that filter."""
        self.uses: list[Use] = []
        self.free: set[ast.Name] = set()
        self.problems: list[Problem] = []
        self._positions = positions
        self._offered = [name for name, known in NAMES.items() if known.is_of_places or place in known.where]
        self._bound: frozenset[str] = frozenset()
        self._formatted: ast.JoinedStr | None = None

    def read(self, node: ast.expr, is_test: bool) -> None:
        """`is_test`: whether it is asked if it is true."""
        self.visit(node)
        if is_test and not self.problems:
            self._refuse_all(test_problems(node))

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.expr) and (message := _STATEMENT_LIKE.get(type(node))):
            self._refuse(node, message)
        super().visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        name = node.id
        if not isinstance(node.ctx, ast.Load) or name in self._bound:
            return
        if name in NAMES:
            self.uses.append(Use(name, self._span(node)))
            self.free.add(node)
            if (parameter := NAMES[name].parameter) is not None:
                self._refuse(node, f"'{name}' needs its {parameter}: write {_example(name)}")
        elif name in _REFUSED:
            self._refuse(node, _REFUSED[name])
        elif name not in BUILTINS:
            hint = did_you_mean(name, [*self._offered, *BUILTINS])
            self._refuse(node, f"no name '{name}' here{hint or ': the names are ' + ', '.join(self._offered)}")

    def visit_Call(self, node: ast.Call) -> None:
        name = self._name_of(node.func)
        if name is not None and name.parameter is not None:
            assert isinstance(node.func, ast.Name)
            self.uses.append(Use(name.name, self._span(node.func)))
            self.free.add(node.func)
            self._check_argument(node, name, name.parameter)
        elif name is not None:
            self._refuse(node.func, f"'{name.name}' is no function: write it without ( )")
            self.visit(node.func)
        elif isinstance(node.func, _CONTAINERS):
            self._refuse(node.func, "this cannot be called: an operator or a comma is missing before the (")
        else:
            self.visit(node.func)
        for child in (*node.args, *node.keywords):
            self.visit(child)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        name = self._name_of(node.value)
        if name is not None and name.parameter is not None:
            self._refuse(node, f"'{name.name}' is a function: write {_example(name.name, node.slice)}")
            return
        if _is_no_sequence(node.value) or _is_wrong_index(node):
            self._refuse(node, "this has no such elements: an operator or a comma is missing before the [")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr.startswith("__") and node.attr.endswith("__"):
            self._refuse(node, f"'{node.attr}' leads from the values of a place into Python itself: leave it away")
        self.visit(node.value)

    def visit_Compare(self, node: ast.Compare) -> None:
        self._refuse_all(comparison_problems(node, self._name_of))
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._refuse_all(alternative_problems(node))
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        before, self._formatted = self._formatted, self._formatted or node
        self.generic_visit(node)
        self._formatted = before

    def visit_Lambda(self, node: ast.Lambda) -> None:
        arguments = node.args
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self.visit(default)
        ones = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        with self._binding({one.arg for one in ones if one is not None}):
            self.visit(node.body)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, node.key, node.value)

    def _comprehension(self, generators: list[ast.comprehension], *elements: ast.expr) -> None:
        self.visit(generators[0].iter)
        targets = {
            child.id
            for generator in generators
            for child in ast.walk(generator.target)
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store)
        }
        with self._binding(targets):
            for i, generator in enumerate(generators):
                if generator.is_async:
                    self._refuse(generator.iter, "'async' has no meaning here: leave it away")
                self.visit(generator.target)
                if i:
                    self.visit(generator.iter)
                for test in generator.ifs:
                    self.visit(test)
            for element in elements:
                self.visit(element)

    @contextmanager
    def _binding(self, names: set[str]) -> Iterator[None]:
        before, self._bound = self._bound, self._bound | names
        yield
        self._bound = before

    def _name_of(self, node: ast.expr) -> Name | None:
        return NAMES.get(node.id) if isinstance(node, ast.Name) and node.id not in self._bound else None

    def _check_argument(self, node: ast.Call, name: Name, parameter: str) -> None:
        if any(isinstance(argument, ast.Starred) for argument in node.args) or any(
            k.arg is None for k in node.keywords
        ):
            return
        for keyword in node.keywords:
            if keyword.arg != parameter:
                self._refuse(
                    keyword.value, f"'{name.name}' has no argument '{keyword.arg}': write {_example(name.name)}"
                )
                return
        arguments = [*node.args, *(k.value for k in node.keywords)]
        if len(arguments) != 1:
            given = f"{len(arguments)} are given" if arguments else "none is given"
            self._refuse(
                node, f"'{name.name}' takes one argument, {parameter}, and {given}: write {_example(name.name)}"
            )
            return
        value, least = _number(arguments[0]), 0 if parameter == "head" else 1
        if isinstance(arguments[0], ast.Constant) and type(arguments[0].value) is not int:
            self._refuse(arguments[0], f"{parameter} is a whole number: write {_example(name.name)}")
        elif value is not None and value < least:
            self._refuse(arguments[0], f"{parameter} is a whole number from {least}: write {_example(name.name)}")

    def _span(self, node: ast.expr) -> Span:
        """Before Python 3.12, what stands inside of a formatted string has no place of its own."""
        return self._positions.of_node(self._formatted or node)

    def _refuse_all(self, wrong: Iterable[Wrong]) -> None:
        for node, message in wrong:
            self._refuse(node, message)

    def _refuse(self, node: ast.expr, message: str) -> None:
        self.problems.append(self._span(node).problem(message))


def _example(name: str, argument: ast.expr | None = None) -> str:
    if isinstance(argument, ast.Constant | ast.Name):
        return f"{name}({ast.unparse(argument)})"
    return f"{name}(0)" if NAMES[name].parameter == "head" else f"{name}(5)"


def _number(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _number(node.operand)
        return None if value is None else -value
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _is_no_sequence(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return not isinstance(node.value, str | bytes)
    return isinstance(node, ast.Set | ast.SetComp | ast.GeneratorExp)


def _is_wrong_index(node: ast.Subscript) -> bool:
    if not isinstance(node.value, ast.Constant | ast.Tuple | ast.List | ast.ListComp | ast.JoinedStr):
        return False
    index = node.slice
    if isinstance(index, ast.Constant):
        return not isinstance(index.value, int)
    return isinstance(index, _CONTAINERS)
