"""What is wrong with a condition, a hit condition or a log message, and where."""

from __future__ import annotations

from typing import Literal, NamedTuple

TextKind = Literal["condition", "hit", "log"]
"""Which of a breakpoint's three texts it is."""

_OF: dict[TextKind, str] = {"condition": "", "hit": " of the hit condition", "log": " of the log message"}


class Problem(NamedTuple):
    """One thing that is wrong in a text.

    Attributes:
        column: of its first character, from 1; one behind the text where something is missing at its end.
        end_column: of the first character behind it.
        message: what is wrong and what to do about it.
    """

    column: int
    end_column: int
    message: str


class ConditionError(ValueError):
    """A text is no condition, no hit condition, or no log message, or it does not fit its place.

    Attributes:
        message: without the column, which the text of the error ends with.
        text: what was typed, in which the columns count characters from 1.
        kind: what it should have been.
    """

    def __init__(self, message: str, column: int, end_column: int, text: str, kind: TextKind = "condition") -> None:
        super().__init__(f"{message} (column {column}{_OF[kind]})")
        self.message, self.column, self.end_column, self.text, self.kind = message, column, end_column, text, kind


def error_of(problem: Problem, text: str, kind: TextKind = "condition") -> ConditionError:
    return ConditionError(problem.message, problem.column, problem.end_column, text, kind)
