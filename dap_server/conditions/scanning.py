"""The words of an expression, whether or not it is Python yet: names, numbers, strings, brackets, signs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

TokenKind = Literal["string", "open", "number", "name", "sign", "comment", "other"]
"""`open` is a string that does not end; `other` a character that Python does not know."""

PAIRS = {"(": ")", "[": "]", "{": "}"}

_PREFIX = r"(?:[rR][bBfF]?|[bBfF][rR]?|[uU])?"
_TOKEN = re.compile(
    rf"""
    (?P<string>{_PREFIX}(?:
        \"\"\"(?:[^\\]|\\.)*?\"\"\" | '''(?:[^\\]|\\.)*?'''
      | "(?!"")(?:[^"\\\n]|\\.)*" | '(?!'')(?:[^'\\\n]|\\.)*'
    ))
    | (?P<open>{_PREFIX}["'].*)
    | (?P<comment>\#[^\n]*)
    | (?P<number>0[xX][0-9a-fA-F_]+ | 0[bB][01_]+ | 0[oO][0-7_]+
      | (?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?[jJ]?)
    | (?P<name>[^\W\d]\w*)
    | (?P<sign>===|!==|\*\*|//|<<|>>|<>|[=<>!:]=|=[<>]|->|&&|\|\||[-+*/%@&|^~<>=!?:;,.()\[\]{{}}])
    | (?P<other>\S)
    """,
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    """`start` and `end` count characters of the text from 0."""

    kind: TokenKind
    text: str
    start: int
    end: int


def tokens(text: str, start: int = 0) -> Iterator[Token]:
    """Those from `start` on. Reads any text."""
    for match in _TOKEN.finditer(text, start):
        kind: TokenKind = match.lastgroup  # type: ignore[assignment]  # the pattern's groups are the kinds
        yield Token(kind, match.group(), match.start(), match.end())
