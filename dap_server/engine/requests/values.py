"""Variables, evaluation, completion."""

from __future__ import annotations

from torch import nn

from dap_server.engine.execution import memory
from dap_server.engine.inspection import hovering
from dap_server.engine.inspection.evaluation import NO_VALUE
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.literals import literal
from dap_server.engine.inspection.variables import Row, describe
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.requests import (
    CompletionsArguments,
    CompletionsResponseBody,
    EvaluateArguments,
    EvaluateResponseBody,
    VariablesArguments,
    VariablesResponseBody,
)
from dap_server.protocol.types import CompletionItem, Variable
from dap_server.wire.handlers import When

ROW_BYTES = 2000
"""About what a row takes until it is sent."""

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
        memory_reference=session.ready.references.add_memory(row.memory),
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

    def job() -> Row:
        if args.context == "hover":
            return hovering.row(evaluator.hover(args.expression, frame))
        value = evaluator.evaluate(args.expression, frame)
        if args.context == "repl":  # where one writes `model.lm_head.weight.data[7] = 0`
            session.ready.scopes.forget()
        if args.context == "clipboard" and not isinstance(value, nn.Module):
            return Row("result", "" if value is NO_VALUE else literal(value))
        if value is NO_VALUE or value is None:
            return Row("result", "")
        return result_row(session, args.expression, frame, value)

    row = session.on_model_thread(job)
    named, indexed = _counts(row)
    return EvaluateResponseBody(
        result=row.value,
        type=row.type,
        variables_reference=session.ready.references.add_children(row.children, frame),
        named_variables=named,
        indexed_variables=indexed,
        memory_reference=session.ready.references.add_memory(row.memory),
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
        evaluator.as_python(expression),
        is_live=evaluator.is_held(expression, frame, value),
        meaning=name if name.isidentifier() else None,
    )


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


def frame_of(session: EngineSession, frame_id: int | None) -> Frame | None:
    """The frame of a request; the top one when it names none."""
    if frame_id is not None:
        return session.ready.references.frame(frame_id)
    debuggee, stop = session.ready, session.stop
    return session.on_model_thread(lambda: debuggee.call_stack(stop, stop.sequence).page(0, 1)[0])
