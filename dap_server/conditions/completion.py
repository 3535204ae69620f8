"""What may be written at a column of a condition or a log message."""

from __future__ import annotations

from typing import NamedTuple

from dap_server.conditions.errors import TextKind
from dap_server.conditions.log_messages import Field, pieces
from dap_server.conditions.names import BUILTINS, LIBRARIES, NAMES, PlaceKind
from dap_server.conditions.phases import missing
from dap_server.conditions.scanning import Token, tokens
from dap_server.modelmap.places import Phase

_WORDS = ("and", "or", "not", "in", "is", "if", "else", "for", "True", "False", "None")


class Completion(NamedTuple):
    """One text that may stand there.

    Attributes:
        label: what is offered.
        kind: a name of the place, a builtin, a member of a library, a word of Python.
        signature: what it is, in short; empty where the label says all.
        documentation: one line; empty where there is none.
        column: of the first character that it takes the place of, from 1.
        end_column: behind the last one.
    """

    label: str
    kind: str
    signature: str
    documentation: str
    column: int
    end_column: int


def complete(
    text: str,
    column: int,
    place: PlaceKind | None = None,
    phase: Phase | None = None,
    kind: TextKind = "condition",
) -> list[Completion]:
    """What begins as the word before the column (from 1) does: the names of the place first, of a filter its own.

    Nothing inside of strings and comments, and nothing in a log message outside of braces.
    """
    at = max(0, min(column - 1, len(text)))
    start = _expression_start(text, at) if kind == "log" else 0 if kind == "condition" else None
    if start is None:
        return []
    before = list(tokens(text[:at], start))
    word = before[-1] if before and before[-1].end == at else None
    if word is not None and word.kind in ("open", "comment", "number", "string"):
        return []
    typed = word.text if word is not None and word.kind == "name" else ""
    if typed:
        before.pop()
    begin = at - len(typed)
    end = _word_end(text, at)
    if before and before[-1].text == ".":
        return [_completion(name, "member", begin, end) for name in _members(before) if name.startswith(typed)]
    return [
        *(_of_name(name, begin, end) for name in _known(place, phase) if name.startswith(typed)),
        *(_completion(name, "builtin", begin, end) for name in sorted(BUILTINS) if typed and name.startswith(typed)),
        *(_completion(name, "word", begin, end) for name in _WORDS if typed and name.startswith(typed)),
    ]


def _known(place: PlaceKind | None, phase: Phase | None) -> list[str]:
    found = [name for name in NAMES if missing(NAMES[name], place, phase) is None]
    if place is None:
        return [name for name in found if NAMES[name].is_of_places]
    return sorted(found, key=lambda name: NAMES[name].is_of_places)


def _members(before: list[Token]) -> list[str]:
    """Of a library whose name stands before the dot."""
    owner = before[-2] if len(before) > 1 else None
    is_member = len(before) > 2 and before[-3].text == "."
    library = LIBRARIES.get(owner.text) if owner is not None and not is_member else None
    names: list[str] = getattr(library, "__all__", dir(library)) if library is not None else []
    return sorted(name for name in names if not name.startswith("_"))


def _expression_start(text: str, at: int) -> int | None:
    """Where the expression around an offset of a log message begins; None outside of one."""
    for piece in pieces(text[:at]):
        if isinstance(piece, Field) and piece.is_open and piece.end == at:
            return piece.start if not _is_in_format(text, piece.start, at) else None
    return None


def _is_in_format(text: str, start: int, at: int) -> bool:
    closed = next((piece for piece in pieces(text[start - 1 : at] + "}") if isinstance(piece, Field)), None)
    return closed is not None and not closed.is_open and closed.end < at - start + 1


def _word_end(text: str, at: int) -> int:
    while at < len(text) and (text[at].isalnum() or text[at] == "_"):
        at += 1
    return at


def _of_name(name: str, start: int, end: int) -> Completion:
    known = NAMES[name]
    return Completion(name, known.kind, known.signature, known.documentation, start + 1, end + 1)


def _completion(label: str, kind: str, start: int, end: int) -> Completion:
    return Completion(label, kind, "", "", start + 1, end + 1)
