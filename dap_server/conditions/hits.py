"""Hit conditions: at which of its hits a breakpoint stops."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from dap_server.conditions.errors import ConditionError

_FORM = "write a number, or one behind ==, !=, >=, >, <=, < or %: '5' is the fifth hit, '% 10' every tenth"
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "": operator.eq,
    "=": operator.eq,
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    ">": operator.gt,
    "<=": operator.le,
    "<": operator.lt,
}
_PATTERN = re.compile(
    r"\s*(?:(?:hits?|count)\b)?\s*(?P<sign>===?|!=|>=|<=|[=<>%])?\s*(?P<number>\d[\d_,]*)\s*"
    r"(?:(?P<second>={1,3}|!=)\s*(?P<rest>\d[\d_,]*)\s*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class HitCondition:
    """What was typed, and what it means: `count % divisor` compared with a number, or the count itself without one."""

    text: str
    sign: str
    number: int
    divisor: int | None = None

    def is_met(self, count: int) -> bool:
        """At the hit of this number; the first hit is 1."""
        return _COMPARE[self.sign](count if self.divisor is None else count % self.divisor, self.number)


def parse_hit_condition(text: str) -> HitCondition:
    """`5` and `== 5` (the fifth hit), `>= 5`, `> 5`, `<= 5`, `< 5`, `!= 3`, `% 2` and `% 2 == 0` (every other).

    Raises:
        ConditionError: it is none of these, or no hit could ever meet it.
    """
    if not text.strip():
        raise _error(f"a hit condition is missing: {_FORM}", 0, len(text), text)
    found = _PATTERN.match(text)
    if found is None:
        start = len(text) - len(text.lstrip())
        raise _error(f"no hit condition: {_FORM}", start, len(text.rstrip()), text)
    sign, second, end = found["sign"] or "", found["second"], found.end()
    if second is not None and sign != "%":
        end = found.start("second")
    if end < len(text):
        raise _error(f"'{text[end:].strip()}' is too much: {_FORM}", end, len(text.rstrip()), text)
    number, rest = _number(found, "number"), _number(found, "rest") if second else 0
    if sign != "%":
        return _possible(HitCondition(text, sign, number), found, "number")
    if number == 0:
        raise _error("nothing is divided by 0: '% 2' is every other hit", *found.span("number"), found.string)
    condition = HitCondition(text, second or "==", rest, number)
    if second and rest >= number:
        raise _error(f"the rest of a division by {number} is less than {number}", *found.span("rest"), found.string)
    return condition


def _possible(condition: HitCondition, found: re.Match[str], group: str) -> HitCondition:
    if condition.sign in ("", "=", "==", "===", "<=") and condition.number < 1:
        raise _error("hits are counted from 1", *found.span(group), found.string)
    if condition.sign == "<" and condition.number < 2:
        raise _error("hits are counted from 1: no hit is less than that", *found.span(group), found.string)
    return condition


def _number(found: re.Match[str], group: str) -> int:
    digits = re.sub(r"[_,]", "", found[group])
    if len(digits) > 18:
        raise _error("more hits than will ever be counted", *found.span(group), found.string)
    return int(digits)


def _error(message: str, start: int, end: int, text: str) -> ConditionError:
    return ConditionError(message, start + 1, end + 1, text, "hit")
