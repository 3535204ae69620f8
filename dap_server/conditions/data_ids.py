"""What data breakpoints watch, as text: `parameter:model.norm.weight[3]`, `cache:2.keys`, `probability:' Paris'`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from types import EllipsisType
from typing import Literal, get_args

WatchKind = Literal["parameter", "activation", "input", "cache", "option", "probability"]
"""A parameter or buffer, what a module returns, what it is given: by their paths. An entry of the cache: `LAYER.keys`.
An option of sampling. How likely a token is to be the next: by its text or id."""

KINDS: tuple[WatchKind, ...] = get_args(WatchKind)

Index = tuple[int | slice | EllipsisType, ...]
"""What stands in one pair of brackets."""

_FORM = re.compile(r"(?P<name>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|.*?)(?P<indexes>(?:\[[-\d:., ]*\])*)", re.DOTALL)
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


class DataIdError(ValueError):
    """A text is no data id; it says what one looks like."""


@dataclass(frozen=True)
class DataId:
    """A data id that was read.

    Attributes:
        kind: None where nothing but the model tells: it is a path, an option or a token.
        indexes: one behind the other; most have one or none.
    """

    kind: WatchKind | None
    name: str
    indexes: tuple[Index, ...] = ()

    def __str__(self) -> str:
        return f"{f'{self.kind}:' if self.kind else ''}{self.label}"

    @property
    def label(self) -> str:
        """Without its kind."""
        return f"{self.name}{''.join(map(index_text, self.indexes))}"


def parse_data_id(text: str) -> DataId:
    """`KIND:NAME`, with an index behind it if wanted; numbers in one pair of brackets after another are joined.

    Raises:
        DataIdError: it is nothing that could be watched.
    """
    kind, _, rest = text.strip().partition(":")
    known = next((one for one in KINDS if one == kind and rest), None)
    found = _FORM.fullmatch(rest if known else text.strip())
    assert found is not None  # any text is a name and brackets, which may be none
    name = found["name"] if known == "probability" else found["name"].strip()
    is_text = known == "probability" or name[:1] in ("'", '"')
    if not name or (not is_text and re.search(r"[\[\]]", name)):
        raise DataIdError(f"'{text}' is nothing to watch: write {EXAMPLES}")
    return DataId(known, name, joined([_index(brackets, text) for brackets in _BRACKETS.findall(found["indexes"])]))


def is_data_id(text: str) -> bool:
    """Whether a text says by its kind that it is one: `after:model.norm` is a place."""
    return text.strip().partition(":")[0] in KINDS and ":" in text


EXAMPLES = (
    "parameter:model.norm.weight[3], activation:model.layers.2, cache:2.keys, option:temperature or probability:' a'"
)


def parse_index(text: str) -> Index:
    """`[0, -1, 3:5]`, or several pairs of brackets that are as good as one. Raises DataIdError."""
    found = _FORM.fullmatch(text.strip())
    assert found is not None  # any text is a name and brackets, which may be none
    indexes = joined([_index(brackets, text) for brackets in _BRACKETS.findall(found["indexes"])])
    if found["name"] or len(indexes) != 1:
        raise DataIdError(f"'{text}' is no index: write numbers and slices in brackets, as in [0, 3, :]")
    return indexes[0]


def _index(brackets: str, text: str) -> Index:
    try:
        return tuple(map(_part, brackets.split(",")))
    except ValueError:
        raise DataIdError(f"[{brackets}] in '{text}' is no index: write numbers and slices, as in [0, 3, :]") from None


def _part(text: str) -> int | slice | EllipsisType:
    if text.strip() == "...":
        return ...
    if ":" not in text:
        return int(text)
    pieces = [int(piece) if piece.strip() else None for piece in text.split(":")]
    if len(pieces) > 3 or (len(pieces) == 3 and pieces[2] is not None and pieces[2] < 1):
        raise ValueError(text)
    return slice(*pieces)


def joined(indexes: list[Index]) -> tuple[Index, ...]:
    """`[0][3]` is `[0, 3]`."""
    found: list[Index] = []
    for index in indexes:
        if found and all(isinstance(part, int) for part in found[-1]):
            found[-1] = (*found[-1], *index)
        else:
            found.append(index)
    return tuple(found)


def index_text(index: Index) -> str:
    """`[0, -1, 3:5]`."""
    return f"[{', '.join(map(_part_text, index))}]"


def _part_text(part: int | slice | EllipsisType) -> str:
    if not isinstance(part, slice):
        return "..." if part is ... else str(part)
    start, stop = ("" if bound is None else str(bound) for bound in (part.start, part.stop))
    return f"{start}:{stop}" + (f":{part.step}" if part.step is not None else "")
