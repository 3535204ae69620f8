"""Variables, evaluation, completion."""

from __future__ import annotations

from torch import nn

from dap_server.engine.execution import memory
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.inspection import hovering
from dap_server.engine.inspection.evaluation import NO_VALUE
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.literals import literal
from dap_server.engine.inspection.rows import row_named
from dap_server.engine.inspection.variables import Row, describe
from dap_server.engine.requests import editing
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.requests import (
    CompletionsArguments,
    CompletionsResponseBody,
    EvaluateArguments,
    EvaluateResponseBody,
    SetExpressionArguments,
    SetExpressionResponseBody,
    SetVariableArguments,
    SetVariableResponseBody,
    VariablesArguments,
    VariablesResponseBody,
)
from dap_server.protocol.types import CompletionItem, Variable, VariablePresentationHint
from dap_server.wire.handlers import When

ROW_BYTES = 2000
"""About what a row takes until it is sent."""

HAS_CHANGED = VariablePresentationHint(attributes=["hasSideEffects"])
"""Of an expression that was an edit."""

READ_ONLY = VariablePresentationHint(attributes=["readOnly"])
"""Of a row that no edit could be about."""

PAGE = 100
"""Rows of an unpaged request for indexed children: a client that cannot page must not get a whole tensor."""


@requests.request(when=When.STOPPED)
def variables(session: EngineSession, args: VariablesArguments) -> VariablesResponseBody:
    """The children of a scope or variable: named ones, and a page of the indexed ones."""
    children = session.ready.references.children(args.variables_reference)

    def job() -> list[Row]:
        rows: list[Row] = []
        if args.filter != "indexed":
            rows.extend(children.named_rows())
        if args.filter != "named" and children.indexed:
            start, count = args.start or 0, args.count or PAGE
            wanted = min(count, max(children.indexed - start, 0))
            memory.require(wanted * ROW_BYTES, "cpu", f"{wanted:,} rows", "ask for a page of them")
            rows.extend(children.indexed_rows(start, count))
        return rows

    rows, references = session.on_model_thread(job), session.ready.references
    references.list(args.variables_reference, rows)
    frame = references.frame_of(args.variables_reference)
    return VariablesResponseBody(variables=[_variable(session, row, frame) for row in rows])


def _variable(session: EngineSession, row: Row, frame: Frame | None) -> Variable:
    named, indexed = _counts(row)
    return Variable(
        name=row.name,
        value=row.value,
        type=row.type,
        variables_reference=session.ready.references.add_children(row.children, frame),
        evaluate_name=row.expression,
        presentation_hint=READ_ONLY if row.expression is None and row.edit is None else None,
        memory_reference=session.ready.references.add_memory(row.memory, row.expression, frame),
        named_variables=named,
        indexed_variables=indexed,
    )


def _counts(row: Row) -> tuple[int | None, int | None]:
    """Named and indexed children; an editor that pages asks for named ones only when both are given."""
    if row.children is None or not row.children.indexed:
        return None, None
    return max(row.children.named, 0), min(row.children.indexed, 2**31 - 1)


@requests.request(when=When.STOPPED)
def evaluate(session: EngineSession, args: EvaluateArguments) -> EvaluateResponseBody:
    """Python over the names of a frame; on hover only names, attributes and indexing."""
    evaluator = session.ready.evaluator
    frame = frame_of(session, args.frame_id)
    is_console = args.context == "repl"
    if is_console and (done := editing.from_console(session, frame, args.expression)) is not None:
        return EvaluateResponseBody(result=done, variables_reference=0, presentation_hint=HAS_CHANGED)
    values: list[object] = []

    def job() -> Row:
        if args.context == "hover":
            return hovering.row(evaluator.hover(args.expression, frame))
        value = evaluator.evaluate(args.expression, frame)
        values.append(value)
        if is_console:  # where one may write into what the run uses
            session.ready.scopes.forget()
        if args.context == "clipboard" and not isinstance(value, nn.Module):
            return Row("result", "" if value is NO_VALUE else literal(value))
        if value is NO_VALUE or value is None:
            return Row("result", "")
        return result_row(session, args.expression, frame, value)

    row = session.on_model_thread(job)
    if is_console and values and (done := editing.by_value(session, frame, values[0])) is not None:
        return EvaluateResponseBody(result=done, variables_reference=0, presentation_hint=HAS_CHANGED)
    named, indexed = _counts(row)
    return EvaluateResponseBody(
        result=row.value,
        type=row.type,
        variables_reference=session.ready.references.add_children(row.children, frame),
        named_variables=named,
        indexed_variables=indexed,
        memory_reference=session.ready.references.add_memory(row.memory, row.expression, frame),
    )


def result_row(session: EngineSession, expression: str, frame: Frame | None, value: object) -> Row:
    """The row of what an expression gave. On the model thread."""
    evaluator, scopes = session.ready.evaluator, session.ready.scopes
    positions = None if frame is None else scopes.positions(frame)
    name = expression.rpartition(".")[2].strip()
    return describe(
        "result",
        value,
        positions,
        evaluator.as_python(expression, frame),
        is_live=evaluator.is_held(expression, frame, value),
        meaning=name if name.isidentifier() else None,
    )


@requests.request(when=When.STOPPED)
def set_variable(session: EngineSession, args: SetVariableArguments) -> SetVariableResponseBody:
    """Another value for a row, where that is one that the run uses: an edit."""
    references = session.ready.references
    row, frame = references.row(args.variables_reference, args.name), references.frame_of(args.variables_reference)
    if row is None:
        children = references.children(args.variables_reference)
        row = session.on_model_thread(lambda: row_named(children, args.name))
    target = None if row is None else row.edit or row.expression
    if target is None or frame is None:
        raise CannotEdit(f"'{args.name}' cannot be changed: {editing.WHICH}")
    return SetVariableResponseBody(value=editing.assign(session, frame, target, args.value))


@requests.request(when=When.STOPPED)
def set_expression(session: EngineSession, args: SetExpressionArguments) -> SetExpressionResponseBody:
    """Another value for what an expression names, where that is one that the run uses: an edit."""
    frame = frame_of(session, args.frame_id)
    return SetExpressionResponseBody(value=editing.assign(session, frame, args.expression, args.value))


@requests.request(when=When.STOPPED)
def completions(session: EngineSession, args: CompletionsArguments) -> CompletionsResponseBody:
    """Names that continue the text before the cursor."""
    text = args.text.split("\n")[(args.line or 1) - 1 :][:1]
    before = "".join(text)[: max(args.column - 1, 0)]
    frame = frame_of(session, args.frame_id)
    names = session.on_model_thread(lambda: session.ready.evaluator.completions(before, frame))
    start = len(before) - len(_partial(before))
    return CompletionsResponseBody(
        targets=[CompletionItem(label=name, start=start, length=len(_partial(before))) for name in names[:PAGE]]
    )


def _partial(text: str) -> str:
    i = len(text)
    while i > 0 and (text[i - 1].isalnum() or text[i - 1] == "_"):
        i -= 1
    return text[i:]


def frame_of(session: EngineSession, frame_id: int | None) -> Frame:
    """The frame of a request; the top one when it names none."""
    if frame_id is not None:
        return session.ready.references.frame(frame_id)
    debuggee, stop = session.ready, session.stop
    return session.on_model_thread(lambda: debuggee.call_stack(stop, stop.sequence).page(0, 1)[0])
