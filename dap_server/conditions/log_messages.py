"""Log messages: text in which `{expression}` stands for its value, in the form of Python's formatted strings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

from dap_server.conditions.errors import Problem, TextKind, error_of
from dap_server.conditions.expressions import Condition, raised, read_expression
from dap_server.conditions.positions import Span
from dap_server.conditions.rules import Use
from dap_server.conditions.scanning import PAIRS, tokens

Conversion = Literal["r", "s", "a"]

MAX_LENGTH = 10_000
"""Characters of a log message."""
_MAX_WIDTH = 1_000
_SELF_NAMING = re.compile(r"=\s*")
_CONVERSION = re.compile(r"!\s*(\w*)\s*")
_CONVERT: dict[str, Callable[[object], str]] = {"r": repr, "s": str, "a": ascii}


@dataclass(frozen=True)
class Inserted:
    """One `{expression!conversion:format}`, and where it stands between its braces."""

    condition: Condition
    conversion: Conversion | None
    format: str
    span: Span

    def text(self, value: object) -> str:
        """Raises ConditionError: the format does not fit the value, or the value has no text."""
        try:
            return format(value if self.conversion is None else _CONVERT[self.conversion](value), self.format)
        except Exception as error:
            raise error_of(self.span.problem(raised(error)), self.condition.source, "log") from error


@dataclass(frozen=True)
class LogMessage:
    """Texts and expressions, in their order.

    Attributes:
        source: what somebody typed.
    """

    source: str
    parts: tuple[str | Inserted, ...]
    kind: TextKind = "log"

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The expressions."""
        return tuple(part.condition for part in self.parts if isinstance(part, Inserted))

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """Where which name of the place stands."""
        return tuple(use for condition in self.conditions for use in condition.uses)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(use.name for use in self.uses)

    @cached_property
    def needs(self) -> frozenset[str]:
        """The names for which the engine has to listen from the beginning of a module."""
        return frozenset(name for condition in self.conditions for name in condition.needs)

    @cached_property
    def is_per_sequence(self) -> bool:
        """Whether it is about one sequence of the batch, and written for each."""
        return any(condition.is_per_sequence for condition in self.conditions)

    def render(self, evaluate: Callable[[Condition], object]) -> str:
        """The text, with the values that a function finds. What it raises comes out.

        Raises:
            ConditionError: a format does not fit its value.
        """
        return "".join(part if isinstance(part, str) else part.text(evaluate(part.condition)) for part in self.parts)


def parse_log_message(text: str) -> LogMessage:
    """`token {text!r} with {prob:.2%}`; `{{` and `}}` are braces, `{norm=}` writes its name too.

    Raises:
        ConditionError: braces that do not fit, or an expression or format that cannot be.
    """
    message, problems = read_log_message(text)
    if message is None:
        raise error_of(problems[0], text, "log")
    return message


def read_log_message(text: str) -> tuple[LogMessage | None, list[Problem]]:
    """The same, with everything that is wrong, in the order of the text. There is a message if nothing is."""
    if not text.strip():
        return None, [Problem(1, len(text) + 1, "a message is missing: 'norm {norm:.1f}' writes one with a value")]
    if len(text) > MAX_LENGTH:
        message = f"too long: {len(text):,} characters, at most {MAX_LENGTH:,} are read"
        return None, [Problem(MAX_LENGTH + 1, len(text) + 1, message)]
    parts: list[str | Inserted] = []
    problems: list[Problem] = []
    for piece in pieces(text):
        if isinstance(piece, Field):
            made, found = _read(text, piece)
            parts += made
            problems += found
        elif isinstance(piece, Problem):
            problems.append(piece)
        else:
            parts.append(piece)
    return (None, problems) if problems else (LogMessage(text, tuple(parts)), [])


class Field(NamedTuple):
    """Where in a text an expression stands between braces; offsets from 0.

    Attributes:
        start: of the expression, behind its brace.
        end: of the expression.
        close: where the closing brace stands; the end of the text without one.
        names_itself: whether it ends with `=`.
        is_open: whether there is no closing brace.
    """

    start: int
    end: int
    close: int
    names_itself: bool = False
    is_open: bool = False


def pieces(text: str) -> Iterator[str | Field | Problem]:
    """A message in its parts."""
    at = 0
    while at < len(text):
        if text[at : at + 2] in ("{{", "}}"):
            yield text[at]
            at += 2
        elif text[at] == "}":
            yield Problem(at + 1, at + 2, "'}' closes nothing: for the brace itself write '}}'")
            at += 1
        elif text[at] == "{":
            field = _field(text, at + 1)
            yield field
            at = field.close + 1
        else:
            end = next((i for i in range(at, len(text)) if text[i] in "{}"), len(text))
            yield text[at:end]
            at = end


def _field(text: str, start: int) -> Field:
    """Finds the end of an expression: brackets and strings inside of it may have anything in them."""
    opened: list[str] = []
    end, names_itself = -1, False
    for token in tokens(text, start):
        sign = token.text if token.kind == "sign" else ""
        if sign in PAIRS:
            opened.append(PAIRS[sign])
        elif sign and opened and sign == opened[-1]:
            opened.pop()
        elif opened:
            continue
        elif sign == "}":
            return Field(start, token.start if end < 0 else end, token.start, names_itself)
        elif sign in ("!", ":", ":="):
            return _formatted(text, start, token.start if end < 0 else end, token.start, names_itself)
        elif sign == "=":
            end, names_itself = token.start, True
        else:
            end, names_itself = -1, False
    return Field(start, len(text), len(text), is_open=True)


def _formatted(text: str, start: int, end: int, at: int, names_itself: bool) -> Field:
    close = text.find("}", at)
    is_open = close < 0
    return Field(start, end, len(text) if is_open else close, names_itself, is_open)


def _read(text: str, field: Field) -> tuple[list[str | Inserted], list[Problem]]:
    if field.is_open:
        begin = field.start
        return [], [Problem(begin, begin + 1, "'{' is never closed: a '}' is missing; for the brace itself write '{{'")]
    condition, problems = read_expression(text, field.start, field.end, "log")
    end = _SELF_NAMING.match(text, field.end).end() if field.names_itself else field.end  # type: ignore[union-attr]  # it was seen
    conversion, format, found = _format(text, end, field.close)
    problems += found
    if problems or condition is None:
        return [], problems
    if field.names_itself and not format:
        conversion = conversion or "r"
    inserted = Inserted(condition, conversion, format, Span(field.start + 1, field.close + 1))
    return ([text[field.start : end], inserted] if field.names_itself else [inserted]), []


def _format(text: str, start: int, close: int) -> tuple[Conversion | None, str, list[Problem]]:
    """What stands between an expression and its closing brace."""
    at = start + len(text[start:close]) - len(text[start:close].lstrip())
    conversion: Conversion | None = None
    if found := _CONVERSION.match(text, at, close):
        conversion = next((known for known in get_args(Conversion) if known == found[1]), None)
        if conversion is None:
            return None, "", [Problem(at + 1, max(found.end(), at + 1) + 1, "behind '!' stands r, s or a: {text!r}")]
        at = found.end()
    if at == close:
        return conversion, "", []
    if text[at] != ":":
        return None, "", [Problem(at + 1, close + 1, "a format begins with ':', as in {prob:.2%}")]
    format = text[at + 1 : close]
    problem = _format_problem(format, conversion)
    return conversion, format, [] if problem is None else [Problem(at + 2, close + 1, problem)]


def _format_problem(spec: str, conversion: Conversion | None) -> str | None:
    """Why no value could be written so."""
    if "{" in spec:
        return "braces in a format are not possible here: write the number itself, as in {norm:8.2f}"
    if any(int(number[-9:]) > _MAX_WIDTH or len(number) > 9 for number in re.findall(r"[0-9]+", spec)):
        return f"wider than {_MAX_WIDTH:,} characters"
    samples: tuple[object, ...] = ("",) if conversion else (0, 0.0, "", 0j)
    for sample in samples:
        try:
            format(sample, spec)
        except (ValueError, OverflowError, UnicodeError, MemoryError):
            continue
        return None
    return f"'{spec}' is no format{' of a text' if conversion else ''}: as in {{norm:.3f}}, {{prob:.1%}}, {{text:>10}}"
