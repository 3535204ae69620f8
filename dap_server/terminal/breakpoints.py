"""Breakpoints as they are typed: `NAME [if CONDITION] [hits COUNT] [log MESSAGE]`.

The name may be a line of a map, `:12`, one of a Python file, `train.py:30`, or a value that is watched,
`value model.norm.weight[3]`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from dap_server.conditions.data_ids import DataIdError, parse_data_id
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.hits import parse_hit_condition
from dap_server.conditions.log_messages import parse_log_message
from dap_server.conditions.names import PlaceKind, place_of
from dap_server.conditions.phases import check
from dap_server.conditions.scanning import PAIRS, tokens
from dap_server.modelmap.files import MapFile, UnreadableMap
from dap_server.modelmap.patterns import Pattern, PatternError, parse_pattern
from dap_server.modelmap.places import Phase
from dap_server.modelmap.text import SUFFIX, MapText
from dap_server.protocol.types import Breakpoint, DataBreakpoint, FunctionBreakpoint, SourceBreakpoint
from dap_server.terminal.errors import CommandError

VALUE = "value "
"""What the name of a value begins with."""

_FIRST = re.compile(r"(?:^|\s)(if|hits|log)(?=\s|$)")
_LINE = re.compile(rf"(?:(?P<phase>before|after):)?(?P<file>.*{re.escape(SUFFIX)})?:(?P<line>\d+)")
_PYTHON = re.compile(r"(?P<file>.+\.pyw?):(?P<line>\d+)")
_MISSING = {
    "if": "a condition: break sample if prob < 0.1",
    "hits": "a number: break step hits % 10",
    "log": "a message: break sample log {text!r} {prob:.1%}",
}


class Typed(NamedTuple):
    """What was typed, in its parts."""

    name: str
    condition: str | None = None
    hits: str | None = None
    log: str | None = None


@dataclass(frozen=True)
class LineBreakpoint:
    """One on a line of a map, or of a Python file.

    Attributes:
        name: how it is called here.
        file: absolute path.
        place: what the line says, where the name does not.
    """

    name: str
    file: str
    at: SourceBreakpoint
    place: str = ""


@dataclass(frozen=True)
class ValueBreakpoint:
    """One on a value."""

    at: DataBreakpoint

    @property
    def name(self) -> str:
        return f"{VALUE}{self.at.data_id}"


Wanted = FunctionBreakpoint | LineBreakpoint | ValueBreakpoint


def read(text: str) -> Typed:
    """Raises CommandError where one of the words has nothing behind it."""
    found = {word: text[start:end].strip() for word, start, end in clauses(text)}
    name = found.pop("")
    for word, said in found.items():
        if not said:
            raise CommandError(f"behind '{word}' stands {_MISSING[word]}")
    if not name:
        raise CommandError("a name is missing: break *.layers.3")
    return Typed(name, found.get("if"), found.get("hits"), found.get("log"))


def clauses(text: str) -> Iterator[tuple[str, int, int]]:
    """The words `if`, `hits`, `log`, and from where to where in the text stands what each of them says; "" the name."""
    marks = [("", 0, 0), *_marks(text)]
    for (word, _, start), (_, end, _) in pairwise([*marks, ("", len(text), 0)]):
        yield word, start, end


def _marks(text: str) -> Iterator[tuple[str, int, int]]:
    """Each word once, and where it begins and ends. What they are in brackets, strings and attributes is not meant."""
    found = _FIRST.search(text)
    if found is None:
        return
    yield found[1], found.start(1), found.end()
    left = {"if", "hits", "log"} - {found[1]}
    depth, before = 0, ""
    for token in tokens(text, found.end()):
        if "log" not in left:
            return  # a message goes on to the end
        if token.kind == "sign" and token.text in PAIRS:
            depth += 1
        elif token.kind == "sign" and token.text in PAIRS.values():
            depth -= 1
        elif token.text in left and depth <= 0 and before != "." and not text[token.end : token.end + 1].strip():
            yield token.text, token.start, token.end
            left.discard(token.text)
        before = token.text


def wanted(
    typed: Typed, map_in_use: Callable[[], str | None], data_id: Callable[[str], str] = lambda text: text
) -> list[Wanted]:
    """What a client sets for it: one by name or on a value; or on a line, or on several where a message is wanted.

    DAP has log messages for lines only: those by name stand on the lines of the map that is in use. `data_id` makes one
    of what is typed.

    Raises:
        CommandError: it cannot be.
    """
    if typed.name.startswith(VALUE):
        return [_on_value(typed, data_id)]
    if (line := _PYTHON.fullmatch(typed.name)) is not None:
        return [LineBreakpoint(typed.name, _python(line["file"]), _at(typed, int(line["line"])))]
    if (line := _LINE.fullmatch(typed.name)) is not None:
        phase: Phase | None = "before" if line["phase"] == "before" else "after" if line["phase"] else None
        _check(typed, None, phase)
        file = os.path.abspath(line["file"] or _in_use(map_in_use))
        return [_on_line(typed, file, _map(file), int(line["line"]), phase)]
    try:
        pattern = parse_pattern(typed.name)
    except PatternError as error:
        raise CommandError(str(error)) from None
    _check(typed, place_of(pattern), pattern.phase)
    if typed.log is None:
        return [FunctionBreakpoint(name=typed.name, condition=typed.condition, hit_condition=typed.hits)]
    file = _in_use(map_in_use)
    text = _map(file)
    lines = _lines(pattern, text)
    if not lines:
        what = "an operation has no line" if pattern.operation else f"no line of it is '{pattern.text}'"
        raise CommandError(f"a log message needs a line of the map {os.path.basename(file)}, and {what}")
    prefix = f"{pattern.phase}:" if pattern.phase else ""
    named = [(number, f"{prefix}{text.lines[number].place_name}") for number in lines]
    return [replace(_on_line(typed, file, text, number, pattern.phase), name=name, place="") for number, name in named]


def described(breakpoint: Wanted) -> str:
    """As one types it, and what stands on the line."""
    parts = [breakpoint.name]
    parts += [f"({breakpoint.place})"] if isinstance(breakpoint, LineBreakpoint) and breakpoint.place else []
    asked = breakpoint if isinstance(breakpoint, FunctionBreakpoint) else breakpoint.at
    parts += [f"if {asked.condition}"] if asked.condition else []
    parts += [f"hits {asked.hit_condition}"] if asked.hit_condition else []
    message = asked.log_message if isinstance(asked, SourceBreakpoint) else None
    return " ".join([*parts, f"log {message}"] if message else parts)


def file_of(breakpoint: Wanted) -> str | None:
    """The map that it stands in; None for one by name, `VALUE` for one on a value."""
    if isinstance(breakpoint, ValueBreakpoint):
        return VALUE
    return breakpoint.file if isinstance(breakpoint, LineBreakpoint) else None


def is_same_place(one: Wanted, other: Wanted) -> bool:
    """Whether one takes the place of the other."""
    if isinstance(one, LineBreakpoint) and isinstance(other, LineBreakpoint):
        return (one.file, one.at.line, one.at.column) == (other.file, other.at.line, other.at.column)
    return type(one) is type(other) and one.name == other.name


def lines_in(breakpoint: Wanted, state: Breakpoint, file: str, text: MapText) -> list[int]:
    """The lines of a map that a breakpoint stands on, by number or by name."""
    if isinstance(breakpoint, LineBreakpoint):
        return [state.line or breakpoint.at.line] if breakpoint.file == file else []
    if isinstance(breakpoint, ValueBreakpoint):
        return []
    try:
        return _lines(parse_pattern(breakpoint.name), text)
    except PatternError:
        return []


def _check(typed: Typed, place: PlaceKind | None, phase: Phase | None) -> None:
    """Here already: what is wrong takes no other breakpoint's place."""
    try:
        if typed.hits is not None:
            parse_hit_condition(typed.hits)
        condition = None if typed.condition is None else parse_condition(typed.condition, place)
        check(condition, place, phase, None if typed.log is None else parse_log_message(typed.log))
    except ConditionError as error:
        raise CommandError(str(error)) from None


def _on_value(typed: Typed, data_id: Callable[[str], str]) -> ValueBreakpoint:
    if typed.log is not None:
        raise CommandError("a value that is watched writes no messages: leave 'log' away")
    _check(typed, "data", None)
    text = data_id(typed.name.removeprefix(VALUE).strip())
    try:
        parse_data_id(text)
    except DataIdError as error:
        raise CommandError(str(error)) from None
    at = DataBreakpoint(data_id=text, access_type="write", condition=typed.condition, hit_condition=typed.hits)
    return ValueBreakpoint(at)


def _on_line(typed: Typed, file: str, text: MapText, line: int, phase: Phase | None) -> LineBreakpoint:
    place = text.lines.get(line)
    if place is None and phase is not None:
        raise CommandError(f"line {line} of {os.path.basename(file)} is no place of a model")
    column = None if phase is None else text.columns(line)[phase == "after"]
    return LineBreakpoint(typed.name, file, _at(typed, line, column), "" if place is None else place.place_name)


def _at(typed: Typed, line: int, column: int | None = None) -> SourceBreakpoint:
    return SourceBreakpoint(
        line=line, column=column, condition=typed.condition, hit_condition=typed.hits, log_message=typed.log
    )


def _python(file: str) -> str:
    """Its path. What a condition there means is Python's to say."""
    path = os.path.abspath(file)
    if not os.path.isfile(path):
        raise CommandError(f"there is no file '{path}'")
    return path


def _lines(pattern: Pattern, text: MapText) -> list[int]:
    """Of the modules or the place of token selection that a name means."""
    if pattern.operation is not None:
        return []
    places = {number: place for number, place in text.lines.items() if place.can_stop}
    if found := [number for number, place in places.items() if place.path and pattern.matches_path(place.path)]:
        return found
    return [number for number, place in places.items() if place.class_name and pattern.matches_class(place.class_name)]


def _in_use(map_in_use: Callable[[], str | None]) -> str:
    if (file := map_in_use()) is None:
        raise CommandError("no map is in use here: give its file, break path/to/NAME.llmmap:12")
    return file


def _map(file: str) -> MapText:
    try:
        return MapFile(file).text
    except UnreadableMap as error:
        raise CommandError(str(error)) from None
