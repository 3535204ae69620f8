"""One breakpoint as the client wants it, and what is wrong with it whatever the model."""

from __future__ import annotations

from dataclasses import dataclass

from dap_server.conditions.data_ids import DataIdError, parse_data_id
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.filters import FILTERS
from dap_server.conditions.hits import parse_hit_condition
from dap_server.conditions.log_messages import parse_log_message
from dap_server.conditions.names import PLACES_OF, SELECTED, PlaceKind, place_of
from dap_server.conditions.phases import check
from dap_server.conditions.python_filters import PYTHON_FILTERS
from dap_server.modelmap.addresses import AddressError, address_text, parse_address
from dap_server.modelmap.model_map import MapLine, MapText
from dap_server.modelmap.patterns import PatternError, parse_pattern
from dap_server.modelmap.places import Phase
from dap_server.protocol.errors import did_you_mean
from dap_server.protocol.llm.control import BreakpointKind, PlaceBreakpoint
from dap_server.protocol.types import (
    Breakpoint,
    DataBreakpoint,
    ExceptionFilterOptions,
    FunctionBreakpoint,
    InstructionBreakpoint,
    Source,
    SourceBreakpoint,
)

MODES: dict[str, Phase] = {"before": "before", "after": "after"}
"""The phase that each `mode` of a breakpoint asks for."""


@dataclass(frozen=True)
class Wanted:
    """One breakpoint of the client.

    Attributes:
        identity: what it is known by when it is set again.
        name: pattern of a function breakpoint, path of a line's module, address as text, filter or data id.
        phase: that is asked for, None if the engine is to decide.
        class_name: of the module, as the map says it.
        file: of the map, for a line; `line` and `column` say where it stands there.
        problem: why no model could have it.
    """

    kind: BreakpointKind
    identity: str
    name: str
    phase: Phase | None = None
    class_name: str | None = None
    condition: str | None = None
    hit_condition: str | None = None
    log_message: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    problem: str | None = None

    def to_place(self, id: int) -> PlaceBreakpoint:
        """For the engine."""
        return PlaceBreakpoint(
            id=id,
            kind=self.kind,
            name=self.name,
            phase=self.phase,
            class_name=self.class_name,
            condition=self.condition,
            hit_condition=self.hit_condition,
            log_message=self.log_message,
            line=self.line if self.kind == "python" else None,
        )

    def state(
        self, id: int, is_verified: bool, message: str | None, is_pending: bool = False, line: int | None = None
    ) -> Breakpoint:
        """For the client. A `line` is one of Python's that has been found for it."""
        return Breakpoint(
            verified=is_verified,
            id=id,
            message=message,
            source=map_source(self.file) if self.file else None,
            line=line or self.line,
            column=self.column,
            reason=None if is_verified else "pending" if is_pending else "failed",
        )


def of_function(breakpoint: FunctionBreakpoint) -> Wanted:
    phase, problem = None, None
    try:
        pattern = parse_pattern(breakpoint.name)
        phase = pattern.phase
        check_conditions(breakpoint, place_of(pattern), phase)
    except (PatternError, ConditionError) as error:
        problem = str(error)
    return _named("function", breakpoint.name, breakpoint, phase, problem)


def of_instruction(breakpoint: InstructionBreakpoint) -> Wanted:
    name, phase, problem = breakpoint.instruction_reference, MODES.get(breakpoint.mode or ""), None
    try:
        name = address_text(parse_address(name, breakpoint.offset or 0))
        check_conditions(breakpoint, None, phase)
    except (AddressError, ConditionError) as error:
        problem = str(error)
    return _named("instruction", name, breakpoint, phase, problem)


def of_data(breakpoint: DataBreakpoint) -> Wanted:
    """A value that is watched. Reading it leaves no trace that anybody could see."""
    name, problem = breakpoint.data_id, None
    try:
        parse_data_id(name)
        check_conditions(breakpoint, "data", None)
        if breakpoint.access_type == "read":
            problem = "who reads a value is not seen: stop where it changes, with the access type 'write'"
    except (DataIdError, ConditionError) as error:
        problem = str(error)
    return _named("data", name, breakpoint, None, problem)


def _named(
    kind: BreakpointKind,
    name: str,
    breakpoint: FunctionBreakpoint | InstructionBreakpoint | DataBreakpoint,
    phase: Phase | None,
    problem: str | None,
) -> Wanted:
    """One that is known by its name when it is set again."""
    condition, hit_condition = breakpoint.condition or None, breakpoint.hit_condition or None
    return Wanted(kind, name, name, phase, condition=condition, hit_condition=hit_condition, problem=problem)


def of_filter(asked: ExceptionFilterOptions) -> Wanted:
    """A filter of anomalies; without a condition it has its own threshold."""
    id, condition, problem = asked.filter_id, asked.condition or None, None
    filter = FILTERS.get(id)
    if id in PYTHON_FILTERS:
        problem = None if condition is None else f"'{id}' takes no condition"
    elif filter is None:
        problem = f"no filter '{id}'{did_you_mean(id, (*FILTERS, *PYTHON_FILTERS))}"
    elif condition is not None:
        try:
            check(parse_condition(condition, filter.id), filter.id, PLACES_OF[filter.id][1])
        except ConditionError as error:
            problem = str(error)
    return Wanted("exception", id, id, condition=condition, problem=problem)


def of_line(breakpoint: SourceBreakpoint, file: str, text: MapText | None, problem: str | None = None) -> Wanted:
    """On a line of a map; one that says nothing moves to the next place. `text` is None if it cannot be read."""
    identity = f"{breakpoint.line}:{breakpoint.column or ''}"
    line = None if text is None else text.place_line(breakpoint.line)
    if text is None or line is None:
        problem = problem or _nothing_on(breakpoint.line, text)
        return Wanted("line", identity, "", file=file, line=breakpoint.line, column=breakpoint.column, problem=problem)
    place = text.lines[line]
    phase = phase_at(text, line, breakpoint.column) if line == breakpoint.line else None
    phase = phase or MODES.get(breakpoint.mode or "")
    problem = place.why_not
    try:
        phase = check_conditions(breakpoint, _place_on(place), phase)
    except ConditionError as error:
        problem = problem or str(error)
    return Wanted(
        "line",
        identity,
        place.path,
        phase,
        None if place.kind == "selection" else place.class_name or None,
        breakpoint.condition or None,
        breakpoint.hit_condition or None,
        breakpoint.log_message or None,
        file,
        line,
        text.columns(line)[phase == "after"],
        problem or None,
    )


def phase_at(text: MapText, line: int, column: int | None) -> Phase | None:
    """What a column of a place means: the nearer of its two."""
    if column is None:
        return None
    before, after = text.columns(line)
    return "before" if abs(column - before) <= abs(column - after) else "after"


def map_source(file: str) -> Source:
    return Source(name=file.replace("\\", "/").rpartition("/")[2], path=file)


def _nothing_on(line: int, text: MapText | None) -> str:
    problems = [problem.message for problem in text.problems if problem.line == line] if text else []
    return problems[0] if problems else "no place of the model stands here or below"


def check_conditions(
    breakpoint: FunctionBreakpoint | InstructionBreakpoint | SourceBreakpoint | DataBreakpoint,
    place: PlaceKind | None,
    phase: Phase | None,
) -> Phase:
    """The phase in which it stops: the one that is asked for, else what the names in its texts mean, else before.

    Raises:
        ConditionError: what is wrong in its condition, hit condition or log message, with the column.
    """
    message = breakpoint.log_message if isinstance(breakpoint, SourceBreakpoint) else None
    if breakpoint.hit_condition:
        parse_hit_condition(breakpoint.hit_condition)
    condition = parse_condition(breakpoint.condition, place) if breakpoint.condition else None
    return check(condition, place, phase, parse_log_message(message) if message else None)


def _place_on(line: MapLine) -> PlaceKind:
    return "module" if line.kind != "selection" else SELECTED.get(line.path, "processor")
