"""Everything that is wrong with a text, for what shows it while somebody types."""

from __future__ import annotations

from dap_server.conditions.errors import ConditionError, Problem, TextKind
from dap_server.conditions.expressions import read_condition
from dap_server.conditions.hits import parse_hit_condition
from dap_server.conditions.log_messages import read_log_message
from dap_server.conditions.names import PlaceKind
from dap_server.conditions.phases import problems
from dap_server.modelmap.places import Phase


def diagnose(
    text: str, place: PlaceKind | None = None, phase: Phase | None = None, kind: TextKind = "condition"
) -> list[Problem]:
    """In the order of the text. A place that is None is any, a phase that is None is decided by the names."""
    if kind == "hit":
        try:
            parse_hit_condition(text)
        except ConditionError as error:
            return [Problem(error.column, error.end_column, error.message)]
        return []
    read, found = read_log_message(text) if kind == "log" else read_condition(text, place)
    return found if read is None else sorted(problems(read.uses, place, phase))
