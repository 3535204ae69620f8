"""Conditions: one Python expression over the names of a place, read once and evaluated at every hit."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType, FunctionType
from typing import TypeVar

from dap_server.conditions.deferred.deferring import Logic, code_of, deferred_code
from dap_server.conditions.deferred.reserved import FILE, PLACE
from dap_server.conditions.errors import ConditionError, Problem, TextKind, error_of
from dap_server.conditions.mistakes import explain, unreadable, warned
from dap_server.conditions.names import BUILTINS, LIBRARIES, NAMES, PlaceKind
from dap_server.conditions.positions import Positions, Span
from dap_server.conditions.rules import Reader, Use

Truth = TypeVar("Truth")

_MAX_RAISED = 500
"""Characters that are shown of what was raised."""

_OUTSIDE = "; `layer` is None outside of the layers: write layer is not None and …"
_BUILTINS = {**BUILTINS, "__import__": __import__}
"""No condition can name `__import__`: it is for functions in C, which import by way of whatever code calls them."""

_GLOBALS = {"__builtins__": _BUILTINS, **LIBRARIES}
"""Of all conditions: an expression binds none."""

_TOO_DEEP = "too many brackets or operators inside of each other: write it shorter"


@dataclass(frozen=True)
class Condition:
    """An expression that was read.

    Attributes:
        text: the expression.
        source: what somebody typed, of which it is a part.
        kind: whether that is a condition or a log message.
        code: of a function of the names, to evaluate with; see `value`.
        tree: of the code, in which a name of the place is a look into `PLACE`.
        uses: where which name of the place stands.
    """

    text: str
    source: str
    kind: TextKind
    code: CodeType
    uses: tuple[Use, ...]
    positions: Positions
    tree: ast.Expression = field(repr=False, compare=False)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the place that are used."""
        return frozenset(use.name for use in self.uses)

    @cached_property
    def needs(self) -> frozenset[str]:
        """Those of them for which the engine has to listen from the beginning of a module."""
        return frozenset(name for name in self.names if NAMES[name].is_captured)

    @cached_property
    def is_per_sequence(self) -> bool:
        """Whether it is about one sequence of the batch, and evaluated for each."""
        return any(NAMES[name].is_per_sequence for name in self.names)

    @cached_property
    def value(self) -> Callable[[Mapping[str, object]], object]:
        """Gives what the expression is where the names have the values that it is given.

        A name's value is asked for when the expression comes to it: what `step == 3 and norm > 100` does not need is
        not computed. Whatever the expression raises comes out; `blame` says where it was raised.
        """
        return FunctionType(self.code, _GLOBALS)

    def flag(self, names: Mapping[str, object], logic: Logic[Truth]) -> Truth:
        """Whether the expression is true, by a logic that can leave the answer on the device; see `why_at_once`."""
        return logic.truth(self.deferred(names, logic))

    @cached_property
    def deferred(self) -> FunctionType:
        """What `flag` runs."""
        return FunctionType(deferred_code(self), _GLOBALS)

    def blame(self, error: BaseException) -> ConditionError:
        """An error that `value` raised, as one of the text: with the columns of the part that raised it."""
        span = Span(self.positions.first, self.positions.last)
        traceback = error.__traceback__
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if code.co_filename == FILE:
                line, end_line, start, end = [*code.co_positions()][traceback.tb_lasti // 2]
                if line is not None and end_line is not None and start is not None and end is not None:
                    span = self.positions.of_bytes(line, start, end_line, end)
            traceback = traceback.tb_next
        hint = _OUTSIDE if isinstance(error, TypeError) and "NoneType" in str(error) and "layer" in self.names else ""
        return error_of(span.problem(raised(error) + hint), self.source, self.kind)


def parse_condition(text: str, place: PlaceKind | None = None) -> Condition:
    """Raises ConditionError with what is wrong and where; `place` says which names to offer then."""
    condition, problems = read_condition(text, place)
    if condition is None:
        raise error_of(problems[0], text)
    return condition


def read_condition(text: str, place: PlaceKind | None = None) -> tuple[Condition | None, list[Problem]]:
    """The same, with everything that is wrong, in the order of the text. There is a condition if nothing is."""
    return read_expression(text, 0, len(text), "condition", place)


def read_expression(
    text: str, start: int, end: int, kind: TextKind, place: PlaceKind | None = None
) -> tuple[Condition | None, list[Problem]]:
    """The part of a text between two offsets; columns are those of the whole text."""
    if (problem := unreadable(text, start, end)) is not None:
        return None, [problem]
    if problems := list(warned(text, start, end)):
        return None, problems
    inner = text[start:end]
    source, offset = inner.strip(), start + len(inner) - len(inner.lstrip())
    positions = Positions(source, offset)
    try:
        tree = ast.parse(source, FILE, "eval")
        reader = Reader(positions, place)
        reader.read(tree.body, is_test=kind == "condition")
        if reader.problems:
            return None, sorted(reader.problems)
        tree = ast.fix_missing_locations(_Lookups(reader.free).visit(tree))
        code = code_of(tree.body, PLACE)
    except SyntaxError as error:
        found = explain(text, start, end)
        span = positions.of_error(error)
        return None, [found or span.problem(_message(error, text[span.column - 1 : span.end_column - 1]))]
    except (RecursionError, MemoryError):
        return None, [Problem(positions.first, positions.last, _TOO_DEEP)]
    except (ValueError, OverflowError) as error:
        return None, [Problem(positions.first, positions.last, f"not an expression: {error}")]
    return Condition(source, text, kind, code, tuple(reader.uses), positions, tree), []


def raised(error: BaseException) -> str:
    """In one line, also where the error itself cannot say what it is."""
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    kind = type(error).__name__
    return f"{kind}: {text[:_MAX_RAISED]}{'…' if len(text) > _MAX_RAISED else ''}" if text else kind


def _message(error: SyntaxError, part: str) -> str:
    if error.msg != "invalid syntax":
        return f"not an expression: {error.msg}"
    return f"not an expression: '{part}' does not fit here" if part else "not an expression: its end is missing"


class _Lookups(ast.NodeTransformer):
    """Makes each name of the place a look into a mapping, wherever it stands: inside of a lambda too."""

    def __init__(self, names: set[ast.Name]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node not in self._names or node.id in LIBRARIES:
            return node
        lookup = ast.Subscript(ast.Name(PLACE, ast.Load()), ast.Constant(node.id), ast.Load())
        return ast.fix_missing_locations(ast.copy_location(lookup, node))
