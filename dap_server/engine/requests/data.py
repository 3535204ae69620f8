"""What data breakpoints can watch: dataBreakpointInfo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from dap_server.engine.analysis.watching import WHICH, watch_at, watch_for
from dap_server.engine.execution.watchable import CannotWatch, watch_of
from dap_server.engine.execution.watching import Watch
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.rows import row_named
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.values import frame_of
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import NotStopped
from dap_server.protocol.requests import DataBreakpointInfoArguments, DataBreakpointInfoResponseBody


@requests.request()
def data_breakpoint_info(session: EngineSession, args: DataBreakpointInfoArguments) -> DataBreakpointInfoResponseBody:
    """Of a row of variables, or of what its name says: a data id, a path, an option, an expression in a frame."""
    try:
        watch = _watch(session, args)
    except CannotWatch as error:
        return DataBreakpointInfoResponseBody(data_id=None, description=str(error))
    return DataBreakpointInfoResponseBody(
        data_id=str(watch.data),
        description=f"{watch.title}: {watch.note}",
        access_types=["write"],
        can_persist=True,
    )


def _watch(session: EngineSession, args: DataBreakpointInfoArguments) -> Watch:
    if args.as_address:
        raise CannotWatch("addresses are not watched here: name a value, such as a parameter by its path")
    if args.variables_reference:
        return _of_row(session, args.variables_reference, args.name)
    frame = None
    with contextlib.suppress(NotStopped):
        frame = frame_of(session, args.frame_id)
    if frame is None:
        return watch_of(args.name, session.ready.anatomy, session.ready.vocabulary)
    return _found(session, watch_for, args.name, frame)


def _of_row(session: EngineSession, reference: int, name: str) -> Watch:
    references = session.ready.references
    row = references.row(reference, name)
    if row is None:
        children = references.children(reference)
        row = session.on_model_thread(lambda: row_named(children, name))
    if row is not None and row.data is not None:
        return watch_of(row.data, session.ready.anatomy, session.ready.vocabulary)
    frame = references.frame_of(reference)
    if row is None or row.expression is None or frame is None:
        raise CannotWatch(f"'{name}' cannot be watched: {WHICH}")
    return _found(session, watch_at, row.expression, frame)


def _found(session: EngineSession, find: Callable[..., Watch], text: str, frame: Frame) -> Watch:
    """With what a frame knows. Raises CannotWatch."""
    debuggee = session.ready

    def look(expression: str) -> object:
        return debuggee.evaluator.hover(expression, frame)

    return session.on_model_thread(lambda: find(text, frame, look, debuggee.anatomy, debuggee.vocabulary))
