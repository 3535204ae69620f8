"""Whether a place has the names that a breakpoint uses, and in which of its phases they are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dap_server.conditions.errors import Problem, error_of
from dap_server.conditions.expressions import Condition
from dap_server.conditions.log_messages import LogMessage
from dap_server.conditions.names import NAMES, PLACES, PLACES_OF, BasePlace, Name, PlaceKind
from dap_server.conditions.rules import Use
from dap_server.modelmap.places import Phase

_WHERE_TO = {
    "token": "set the breakpoint on `sample`",
    "logits": "set the breakpoint on `logits`, `sample` or a logits processor",
    "module": "set the breakpoint on a module",
    "operation": "set the breakpoint on a module or an operation",
}


def check(
    condition: Condition | LogMessage | None,
    place: PlaceKind | None,
    phase: Phase | None = None,
    log_message: LogMessage | None = None,
) -> Phase:
    """The phase in which a breakpoint with these stops: what is asked for, else what the names mean, else before.

    `place` is None while it is not known what the breakpoint stands on: then any place will do.

    Raises:
        ConditionError: the place does not have a name, or not in the phase that is asked for.
    """
    asked: Phase = phase or "before"
    for read in (condition, log_message):
        if read is None:
            continue
        for problem in problems(read.uses, place, phase):
            raise error_of(problem, read.source, read.kind)
        if phase is None and is_after(read.uses, place):
            asked = "after"
    return asked


def is_after(uses: Iterable[Use], place: PlaceKind | None) -> bool:
    """Whether one of the names is known after the place only."""
    return any(_phase(NAMES[use.name], place) == "after" for use in uses)


def problems(uses: Iterable[Use], place: PlaceKind | None, phase: Phase | None) -> Iterator[Problem]:
    """What a place does not have, or not in the phase that is asked for."""
    for use in uses:
        if (message := missing(NAMES[use.name], place, phase)) is not None:
            yield use.span.problem(message)


def missing(name: Name, place: PlaceKind | None, phase: Phase | None) -> str | None:
    """Why a name has no value there, None when it has one."""
    if place is not None and place not in name.where and base_of(place) not in name.where:
        if place == "data":
            return f"`{name.name}` is not known to a data breakpoint: write value, before or change"
        where = f"at {PLACES[place]}" if place in PLACES else "to this filter"
        return f"`{name.name}` is not known {where}: {_where_to(name)}"
    known = _phase(name, place)
    if known is None or phase in (None, known):
        return None
    place = base_of(place)
    what = "the module" if place is None and "module" in name.where else PLACES[place] if place else _places(name)
    return (
        f"`{name.name}` is known {known} {what.replace('a ', 'the ', 1)} only, and the breakpoint asks for {phase}: "
        f"let it stop {known}, or leave the name away"
    )


def base_of(place: PlaceKind | None) -> BasePlace | None:
    """The place that a filter stands on; any other place is itself. What is watched has the names of every place."""
    if place == "data":
        return "step"
    found = PLACES_OF.get(place) if place is not None else None
    return found[0] if found is not None else next((base for base in PLACES if base == place), None)


def _phase(name: Name, place: PlaceKind | None) -> Phase | None:
    if place is None or place in name.where:
        return name.phase if place is None else name.where[place]
    base = base_of(place)
    return None if base is None else name.where.get(base)


def _where_to(name: Name) -> str:
    if name.filter is not None:
        return f"it belongs to the filter '{name.filter}'"
    if "data" in name.where:
        return "it belongs to data breakpoints"
    key = next(key for key in ("logits", "operation", "module", "sample") if key in name.where)
    return _WHERE_TO["token" if key == "sample" else key]


def _places(name: Name) -> str:
    return " or ".join(PLACES[place] for place in name.where if place in PLACES)
