"""Breakpoints as the client knows them: numbered here, long before a model is there to place them in."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from dap_server.adapter.loading import LOADING
from dap_server.adapter.python_lines import of_python_line
from dap_server.adapter.wanted import Wanted, of_data, of_filter, of_function, of_instruction, of_line
from dap_server.modelmap.files import MapFiles, UnreadableMap
from dap_server.modelmap.model_map import MapText
from dap_server.modelmap.paths import is_map
from dap_server.protocol.llm.control import PlaceBreakpointsArguments
from dap_server.protocol.types import (
    Breakpoint,
    DataBreakpoint,
    ExceptionFilterOptions,
    FunctionBreakpoint,
    InstructionBreakpoint,
    SourceBreakpoint,
)

OFF = "not placed: this run is without debugging"
NOT_STARTED = "the program has not been started yet"

States = Callable[[], list[Breakpoint]]
"""What the client is told of a list by now, in the order of its request."""

FUNCTIONS = "functions"
INSTRUCTIONS = "instructions"
EXCEPTIONS = "exceptions"
DATA = "data"


class Breakpoints:
    """All breakpoints of a session, in lists: one for each kind that is no file's, and one for each file, by its path.

    A breakpoint that is set again keeps its number.
    """

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._known: dict[tuple[str, str, int], int] = {}
        self._lists: dict[str, dict[int, Wanted]] = {}
        self._maps = MapFiles()
        self._are_off = False
        self._states: dict[int, Breakpoint] = {}

    @property
    def maps(self) -> list[str]:
        """The map files with breakpoints, in the order in which they came."""
        return [name for name, wanted in self._lists.items() if wanted and is_map(name)]

    @property
    def states(self) -> list[Breakpoint]:
        """What the client was last told of all of them."""
        return [self._states[id] for id, _ in self._all()]

    def set_functions(self, asked: list[FunctionBreakpoint]) -> States:
        """Takes the client's list, as all of these do. What cannot be is said at once; the rest is pending."""
        return self._replace(FUNCTIONS, map(of_function, asked))

    def set_instructions(self, asked: list[InstructionBreakpoint]) -> States:
        return self._replace(INSTRUCTIONS, map(of_instruction, asked))

    def set_filters(self, asked: list[ExceptionFilterOptions]) -> States:
        return self._replace(EXCEPTIONS, map(of_filter, asked))

    def set_data(self, asked: list[DataBreakpoint]) -> States:
        return self._replace(DATA, map(of_data, asked))

    def set_lines(self, path: str, asked: list[SourceBreakpoint]) -> States:
        """Those in a map, by its absolute path."""
        text, problem = self._read_map(path)
        return self._replace(path, (of_line(b, path, text, problem) for b in asked))

    def set_python_lines(self, path: str, asked: list[SourceBreakpoint]) -> States:
        """Those in a file of Python, by its absolute path."""
        return self._replace(path, (of_python_line(b, path) for b in asked))

    def locations(self, path: str, start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
        """Where in a part of a map one can stand, by lines and columns; nowhere if there is no such map."""
        text, _ = self._read_map(path)
        return [] if text is None else text.stops(start, end)

    def to_place(self) -> PlaceBreakpointsArguments:
        """Those that a model has to be searched for."""
        possible = [] if self._are_off else [(id, wanted) for id, wanted in self._all() if wanted.problem is None]
        return PlaceBreakpointsArguments(breakpoints=[wanted.to_place(id) for id, wanted in possible])

    def settle(self, placed: list[Breakpoint]) -> None:
        """Takes the engine's answer to `to_place`, and what it tells of one later.

        What it tells of one that the client has replaced meanwhile by what no model could have does not count.
        """
        possible = {id: wanted for id, wanted in self._all() if wanted.problem is None}
        for b in placed:
            if b.id in possible:
                is_pending = b.reason == "pending"
                self._states[b.id] = possible[b.id].state(b.id, b.verified, b.message, is_pending, b.line)

    def unsettle(self, are_off: bool) -> None:
        """Another model will come; `are_off` says whether it runs without debugging."""
        self._are_off = are_off
        self._states = {id: self._first_state(id, wanted) for id, wanted in self._all()}

    def _replace(self, name: str, breakpoints: Iterable[Wanted]) -> States:
        before = self._lists.get(name, {})
        self._lists[name] = {self._id(name, identity, n): w for identity, n, w in _counted(breakpoints)}
        for id, breakpoint in self._lists[name].items():
            if before.get(id) != breakpoint or id not in self._states:
                self._states[id] = self._first_state(id, breakpoint)
        return lambda: [self._states[id] for id in self._lists[name]]

    def _read_map(self, path: str) -> tuple[MapText | None, str | None]:
        """The map of a file, or why there is none."""
        try:
            return self._maps.read(path), None
        except UnreadableMap as error:
            return None, str(error)

    def _all(self) -> Iterator[tuple[int, Wanted]]:
        for wanted in self._lists.values():
            yield from wanted.items()

    def _id(self, name: str, identity: str, number: int) -> int:
        key = (name, identity, number)
        if key not in self._known:
            self._known[key] = next(self._ids)
        return self._known[key]

    def _first_state(self, id: int, wanted: Wanted) -> Breakpoint:
        if wanted.problem or self._are_off:
            return wanted.state(id, False, wanted.problem or OFF)
        return wanted.state(id, False, NOT_STARTED if wanted.kind == "python" else LOADING, is_pending=True)


def _counted(wanted: Iterable[Wanted]) -> Iterator[tuple[str, int, Wanted]]:
    """Each with how many of the same identity came before it."""
    seen: Counter[str] = Counter()
    for breakpoint in wanted:
        yield breakpoint.identity, seen[breakpoint.identity], breakpoint
        seen[breakpoint.identity] += 1
