"""Filters of anomalies, as they are typed: `residual`, `residual if growth > 10`, `off nonFinite`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.filters import FILTERS
from dap_server.conditions.names import PLACES_OF
from dap_server.conditions.phases import check
from dap_server.protocol.capabilities import ExceptionBreakpointsFilter
from dap_server.protocol.errors import did_you_mean
from dap_server.protocol.events import BreakpointEventBody, StoppedEventBody
from dap_server.protocol.types import Breakpoint, ExceptionFilterOptions
from dap_server.terminal.client import Client
from dap_server.terminal.errors import CommandError

ALL, OFF = "all", "off"
_CONDITION = re.compile(r"(?:^|\s)if(?=\s|$)")
_EXAMPLE = "catch residual if growth > 10"


class Typed(NamedTuple):
    """What was typed, in its parts."""

    ids: list[str]
    is_off: bool = False
    condition: str | None = None


class Filters:
    """The filters of one session.

    Attributes:
        on: those that stop the run, each with the condition that it was given; None is its own threshold.
        states: what became of each.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.on: dict[str, str | None] = {}
        self.states: dict[str, Breakpoint] = {}

    @property
    def known(self) -> Sequence[ExceptionBreakpointsFilter]:
        """All that the adapter has."""
        return self._client.capabilities.exception_breakpoint_filters or ()

    def begin(self, typed: Sequence[str]) -> None:
        """Switches on what is on by default, and then what was typed at the command line.

        Raises:
            CommandError: it cannot be.
        """
        on: dict[str, str | None] = {known.filter: None for known in self.known if known.default}
        for text in typed:
            on = changed(on, read(text, self.known))
        if self.known:
            self.set(on)

    def set(self, on: dict[str, str | None]) -> None:
        """Replaces all of them."""
        on = {each.filter: on[each.filter] for each in self.known if each.filter in on}
        plain, given = [id for id in on if not on[id]], [id for id in on if on[id]]
        options = [ExceptionFilterOptions(filter_id=id, condition=on[id]) for id in given]
        answered = self._client.set_exception_breakpoints(*plain, *options) or ()
        states = dict(zip([*plain, *given], answered, strict=False))
        self.on, self.states = on, {id: states[id] for id in on if id in states}

    def change(self, state: BreakpointEventBody) -> str | None:
        """Takes what has become of one of them; gives which."""
        ids = [id for id, known in self.states.items() if known.id is not None and known.id == state.breakpoint.id]
        self.states.update(dict.fromkeys(ids, state.breakpoint))
        return ids[0] if ids else None

    def label(self, id: str) -> str:
        return next((known.label for known in self.known if known.filter == id), id)

    def caught_by(self, stopped: StoppedEventBody) -> str | None:
        """The filter that has stopped the run."""
        hit = stopped.hit_breakpoint_ids or () if stopped.reason == "exception" else ()
        return next((id for id, state in self.states.items() if state.id is not None and state.id in hit), None)


def read(text: str, known: Sequence[ExceptionBreakpointsFilter]) -> Typed:
    """Raises CommandError with what cannot be; a condition is checked too."""
    names, condition = clauses(text)
    condition = None if condition is None else condition.strip()
    words = re.findall(r"[^\s,]+", names)
    is_off = OFF in (word.lower() for word in (*words[:1], *words[-1:]))
    words = [word for word in words if word.lower() != OFF]
    ids = [id for word in words for id in _ids(word, known)]
    if is_off and not ids:
        ids = [each.filter for each in known]
    if condition is None or is_off:
        if condition is not None:
            raise CommandError("'off' takes no condition: catch off residual")
        if not ids:
            raise CommandError(f"a filter is missing: {_EXAMPLE}; 'catch' lists them")
        return Typed(ids, is_off)
    if len(ids) != 1:
        raise CommandError(f"a condition is one filter's: {_EXAMPLE}")
    if not condition:
        raise CommandError(f"behind 'if' stands a condition: {_EXAMPLE}")
    _check(ids[0], condition)
    return Typed(ids, False, condition)


def clauses(text: str) -> tuple[str, str | None]:
    """The names, and the condition if there is one."""
    found = _CONDITION.search(text)
    return (text, None) if found is None else (text[: found.start()], text[found.end() :])


def changed(on: dict[str, str | None], typed: Typed) -> dict[str, str | None]:
    """Which are on then: a filter that is switched on without a condition has its own threshold again."""
    if typed.is_off:
        return {id: condition for id, condition in on.items() if id not in typed.ids}
    return {**on, **dict.fromkeys(typed.ids, typed.condition)}


def threshold(id: str) -> str | None:
    """The condition that a filter has of its own."""
    return FILTERS[id].condition if id in FILTERS else None


def _ids(word: str, known: Sequence[ExceptionBreakpointsFilter]) -> list[str]:
    names = [each.filter for each in known]
    found = names if word.lower() == ALL else [name for name in names if name.lower() == word.lower()]
    if not found:
        hint = did_you_mean(word, names) or ": 'catch' lists them"
        raise CommandError(f"no filter '{word}'{hint}")
    return found


def _check(id: str, condition: str) -> None:
    """Here already: what is wrong changes no filter."""
    if id not in FILTERS:
        return
    filter = FILTERS[id].id
    try:
        check(parse_condition(condition, filter), filter, PLACES_OF[filter][1])
    except ConditionError as error:
        raise CommandError(str(error)) from None
