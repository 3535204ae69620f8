"""Why a text is no Python expression, said as a person would say it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator

from dap_server.conditions.errors import Problem
from dap_server.conditions.scanning import PAIRS, Token, tokens

MAX_LENGTH = 4_000
"""Characters of a condition. Python's parser and what people can read both end somewhere."""

_SIGNS = {
    "&&": "write 'and'",
    "||": "write 'or'",
    "!": "write 'not'",
    "===": "write '=='",
    "!==": "write '!='",
    "<>": "write '!='",
    "=>": "write '>='",
    "=<": "write '<='",
    ":=": "nothing can be assigned here: to compare, write '=='",
    ";": "one expression only: join two with 'and' or 'or'",
    "?": "write 'a if condition else b'",
    "->": "write 'lambda x: …'",
}
_QUOTES = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'", "«": '"', "»": '"'}
_LEADING = {"if", "when", "while"}
_STATEMENTS = {
    *("assert", "break", "class", "continue", "def", "del", "except", "for", "from", "global", "import", "nonlocal"),
    *("pass", "raise", "return", "try", "with"),
}
_BAD_ESCAPE = re.compile(r"\\(?:[^\n\\'\"abfnrtvxNuU0-7\r]|[4-7][0-7]{2})", re.DOTALL)
_OPERATORS = {"and", "else", "for", "if", "in", "is", "or", "not"}


def unreadable(text: str, start: int, end: int) -> Problem | None:
    """What keeps Python from even looking at the text between two offsets."""
    if not text[start:end].strip():
        return Problem(start + 1, end + 1, "an expression is missing: write one such as step == 3")
    if end - start > MAX_LENGTH:
        message = f"too long: {end - start:,} characters, at most {MAX_LENGTH:,} are read"
        return Problem(start + MAX_LENGTH + 1, end + 1, message)
    for i in range(start, end):
        if text[i] == "\0" or "\ud800" <= text[i] <= "\udfff":
            return Problem(i + 1, i + 2, f"the character U+{ord(text[i]):04X} cannot be part of an expression")
    return None


def warned(text: str, start: int, end: int) -> Iterator[Problem]:
    """What Python would read with a warning: in a later version it is an error, and it is a mistake now."""
    previous: Token | None = None
    for token in _within(text, start, end):
        if token.kind == "string":
            yield from _bad_escapes(token)
        elif previous and previous.kind == "number" and previous.end == token.start and token.text in _OPERATORS:
            yield Problem(token.start + 1, token.end + 1, f"write a space before '{token.text}'")
        previous = token


def explain(text: str, start: int, end: int) -> Problem | None:
    """What is wrong in a text that Python refused; None if nothing is seen that can be said better than Python does."""
    words = list(_within(text, start, end))
    return _odd_character(words) or _unbalanced(words) or _statement(words) or _sign(words) or _assignment(words)


def _within(text: str, start: int, end: int) -> Iterator[Token]:
    return tokens(text[:end], start)


def _problem(token: Token, message: str) -> Problem:
    return Problem(token.start + 1, token.end + 1, message)


def _bad_escapes(token: Token) -> Iterator[Problem]:
    prefix = token.text[: re.search(r"[\"']", token.text).start()].lower()  # type: ignore[union-attr]  # a string has one
    if "r" in prefix or "\\" not in token.text:
        return
    for found in re.finditer(r"\\(?:[4-7][0-7]{2}|.)", token.text, re.DOTALL):
        if _BAD_ESCAPE.fullmatch(found.group()):
            at = token.start + found.start()
            yield Problem(
                at + 1, at + 1 + len(found.group()), f"'{found.group()}' means nothing: for a backslash write '\\\\'"
            )


def _odd_character(words: list[Token]) -> Problem | None:
    for token in words:
        if token.text in _QUOTES:
            return _problem(token, f"'{token.text}' is a typographic quote: write {_QUOTES[token.text]}")
        if token.kind == "open":
            quote = re.sub(r"^\w*", "", token.text)[0]
            return _problem(token, f"the string that begins here does not end: a {quote} is missing")
    return None


def _unbalanced(words: list[Token]) -> Problem | None:
    opened: list[Token] = []
    for token in words:
        if token.kind == "sign" and token.text in PAIRS:
            opened.append(token)
        elif token.kind == "sign" and token.text in PAIRS.values():
            if not opened:
                return _problem(token, f"'{token.text}' closes nothing: remove it, or open it before")
            if PAIRS[opened[-1].text] != token.text:
                begin = opened[-1]
                at = f"'{begin.text}' of column {begin.start + 1}"
                return _problem(token, f"'{token.text}' does not close the {at}: write '{PAIRS[begin.text]}'")
            opened.pop()
    if opened:
        return _problem(opened[-1], f"'{opened[-1].text}' is never closed: a '{PAIRS[opened[-1].text]}' is missing")
    return None


def _statement(words: list[Token]) -> Problem | None:
    first = words[0] if words else None
    if first is None or first.kind != "name":
        return None
    if first.text in _LEADING and (keyword.iskeyword(first.text) or len(words) > 1):
        return _problem(first, f"leave '{first.text}' away: the expression alone is the condition")
    if first.text in _STATEMENTS:
        return _problem(first, f"'{first.text}' begins a statement: one expression is wanted, such as step == 3")
    return None


def _sign(words: list[Token]) -> Problem | None:
    for token, following in zip(words, [*words[1:], None], strict=True):
        if token.kind == "sign" and token.text in _SIGNS:
            return _problem(token, f"'{token.text}' is no operator here: {_SIGNS[token.text]}")
        if token.text in ("+", "-") and following and following.text == "=" and following.start == token.end:
            return _problem(token, "nothing can be assigned here")
    return None


def _assignment(words: list[Token]) -> Problem | None:
    """A single `=` that gives no argument its name."""
    opened: list[bool] = []
    previous: Token | None = None
    for token, following in zip(words, [*words[1:], None], strict=True):
        if token.text in PAIRS:
            opened.append(token.text == "(" and previous is not None and previous.kind in ("name", "sign"))
        elif token.text in PAIRS.values() and opened:
            opened.pop()
        elif token.text == "=" and not (opened and opened[-1]):
            if previous and previous.text == "token" and following and following.kind == "string":
                return _problem(token, f"'=' assigns, and token is a number: write text == {following.text}")
            return _problem(token, "'=' assigns: to compare, write '=='")
        previous = token
    return None
