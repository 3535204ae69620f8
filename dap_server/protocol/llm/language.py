"""Own requests of the language server: what is wrong with the texts of a breakpoint, what may stand there, a map anew.

They go over the Language Server Protocol, beside its own requests. Columns count the units of JavaScript's strings
(UTF-16), from 0, the end not included.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.messages import Struct
from dap_server.protocol.tables import RequestType

TextKind = Literal["condition", "hitCondition", "logMessage"]
Phase = Literal["before", "after"]


class ConditionArguments(Struct):
    """A text of a breakpoint, and what it stands on: a line of a map, a name, or a filter; without them anything."""

    text: str
    kind: TextKind = "condition"
    uri: str | None = None
    """Of the map, with `line`."""
    line: Annotated[int, Meta(ge=0)] | None = None
    """From 0."""
    path: str | None = None
    """Name of a function breakpoint: module path, glob, class or operation, with a prefix or without. Or a data id."""
    filter: str | None = None
    """Id of the filter of anomalies whose condition it is, such as `nonFinite`."""
    phase: Phase | None = None
    """What the column or the prefix asks for; otherwise the names of the text decide."""


class ConditionDiagnosticsArguments(ConditionArguments):
    """`llm/conditionDiagnostics`: what is wrong with a text, and in which phase its breakpoint stops."""


class ConditionDiagnostic(Struct):
    """One thing that is wrong."""

    start: int
    end: int
    message: str


class ConditionDiagnosticsResponse(Struct):
    """Empty diagnostics are a text that can be set."""

    diagnostics: list[ConditionDiagnostic]
    phase: Phase | None = None
    """In which the breakpoint stops; missing while something is wrong."""
    place: str | None = None
    """What the breakpoint stands on: `step`, `module`, `operation`, `logits`, `processor`, `sample`; or the filter."""


class ConditionCompletionArguments(ConditionArguments):
    """`llm/conditionCompletion`: what may stand at a column of a text."""

    column: Annotated[int, Meta(ge=0)] = 0


class ConditionCompletionItem(Struct):
    """One of them."""

    label: str
    kind: str
    """What it is: `integer`, `number`, `text`, `tensor`, `list`, `function`, `module`, `builtin`, `member`, `word`;
    `threshold`, a whole condition: the filter's own, offered for an empty text."""
    start: int
    """Of what it takes the place of."""
    end: int
    detail: str = ""
    """Its signature."""
    documentation: str = ""


class ConditionCompletionResponse(Struct):
    """What may stand there."""

    items: list[ConditionCompletionItem]


class RegenerateMapArguments(Struct):
    """`llm/regenerateMap`: makes a map anew from the model's config, and has the editor change the document."""

    uri: str


class RegenerateMapResponse(Struct):
    """What became of it. Comments stay with their places."""

    applied: bool
    """False where the map is as the model is, or the editor did not take the change."""
    moves: dict[int, int]
    """The new line of every old one that holds the same place, from 0; for breakpoints."""


LANGUAGE_REQUESTS: dict[str, RequestType] = {
    "llm/conditionDiagnostics": RequestType(ConditionDiagnosticsArguments, ConditionDiagnosticsResponse),
    "llm/conditionCompletion": RequestType(ConditionCompletionArguments, ConditionCompletionResponse),
    "llm/regenerateMap": RequestType(RegenerateMapArguments, RegenerateMapResponse),
}
