"""Conditions, hit conditions and log messages: on a line of a map, and as requests of their own."""

from __future__ import annotations

from lsprotocol import types

from dap_server.conditions import completion, diagnosis
from dap_server.conditions.data_ids import is_data_id
from dap_server.conditions.errors import ConditionError, TextKind
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.filters import FILTERS
from dap_server.conditions.log_messages import parse_log_message
from dap_server.conditions.names import SELECTED, PlaceKind, place_of
from dap_server.conditions.phases import check
from dap_server.language.documents import Document, Documents
from dap_server.language.text import Text
from dap_server.modelmap.patterns import PatternError, parse_pattern
from dap_server.modelmap.places import Phase
from dap_server.modelmap.text import MapLine
from dap_server.protocol.llm.language import (
    ConditionArguments,
    ConditionCompletionArguments,
    ConditionCompletionItem,
    ConditionCompletionResponse,
    ConditionDiagnostic,
    ConditionDiagnosticsArguments,
    ConditionDiagnosticsResponse,
)

KINDS: dict[str, TextKind] = {"condition": "condition", "hitCondition": "hit", "logMessage": "log"}


def place_kind(line: MapLine) -> PlaceKind:
    """What a condition on a line of a map speaks of."""
    if line.kind != "selection":
        return "module"
    return SELECTED.get(line.path, "processor")


def name_completions(document: Document, position: types.Position) -> list[types.CompletionItem]:
    """The names of conditions, at the first column of a place's line: for editors that ask there for their own boxes.

    VS Code's does so at every column of the box, and takes out itself what was typed.
    """
    found = document.place_at(position)
    if found is None or position.character:
        return []
    return [
        types.CompletionItem(
            label=known.label,
            kind=_item_kind(known.kind),
            detail=known.signature or None,
            documentation=known.documentation or None,
            sort_text=f"{i:03}",
            insert_text=f"{known.label}(" if known.kind == "function" else known.label,
        )
        for i, known in enumerate(completion.complete("", 1, place_kind(found[1])))
    ]


def diagnose(documents: Documents, asked: ConditionDiagnosticsArguments) -> ConditionDiagnosticsResponse:
    place, phase = _place(documents, asked)
    kind = KINDS[asked.kind]
    text = Text(asked.text)
    found = [
        ConditionDiagnostic(*_columns(text, problem.column, problem.end_column), problem.message)
        for problem in diagnosis.diagnose(asked.text, place, phase, kind)
    ]
    return ConditionDiagnosticsResponse(found, None if found else _phase(asked, place, phase), place)


def complete(documents: Documents, asked: ConditionCompletionArguments) -> ConditionCompletionResponse:
    place, phase = _place(documents, asked)
    text = Text(asked.text)
    column = len(_head(text, asked.column)) + 1
    items = [
        ConditionCompletionItem(
            item.label, item.kind, *_columns(text, item.column, item.end_column), item.signature, item.documentation
        )
        for item in completion.complete(asked.text, column, place, phase, KINDS[asked.kind])
    ]
    return ConditionCompletionResponse([*_threshold(asked), *items])


def _threshold(asked: ConditionCompletionArguments) -> list[ConditionCompletionItem]:
    """The condition that a filter has by itself, where nothing is typed yet."""
    filter = FILTERS.get(asked.filter or "")
    if filter is None or filter.condition is None or asked.text.strip():
        return []
    return [
        ConditionCompletionItem(
            filter.condition, "threshold", 0, len(asked.text), "the filter's own", filter.description
        )
    ]


def _place(documents: Documents, asked: ConditionArguments) -> tuple[PlaceKind | None, Phase | None]:
    """What the breakpoint stands on, None where that is not known, and the phase that is asked for."""
    if asked.filter in FILTERS:
        return FILTERS[asked.filter].id, asked.phase
    if asked.uri is not None and asked.line is not None:
        text = documents.get(asked.uri).map
        number = text.place_line(asked.line + 1)
        return (None if number is None else place_kind(text.lines[number])), asked.phase
    if asked.path is None:
        return None, asked.phase
    if is_data_id(asked.path):
        return "data", None
    try:
        pattern = parse_pattern(asked.path)
    except PatternError:
        return None, asked.phase
    return place_of(pattern), asked.phase or pattern.phase


def _phase(asked: ConditionArguments, place: PlaceKind | None, phase: Phase | None) -> Phase | None:
    try:
        match asked.kind:
            case "condition":
                return check(parse_condition(asked.text), place, phase)
            case "logMessage":
                return check(parse_log_message(asked.text), place, phase)
            case "hitCondition":
                return phase
    except ConditionError:
        return None  # an empty text, which is no condition


def _head(text: Text, units: int) -> str:
    """What stands before a column of the client."""
    head = text.source.encode("utf-16-le", "surrogatepass")[: 2 * units]
    return head.decode("utf-16-le", "replace")


def _columns(text: Text, column: int, end_column: int) -> tuple[int, int]:
    return text.units(text.source[: column - 1]), text.units(text.source[: end_column - 1])


def _item_kind(kind: str) -> types.CompletionItemKind:
    if kind == "function":
        return types.CompletionItemKind.Function
    return types.CompletionItemKind.Module if kind == "module" else types.CompletionItemKind.Variable
