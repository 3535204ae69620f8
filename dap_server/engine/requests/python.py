"""Lines of Python in a session: breakpoints on them, and motions from one."""

from __future__ import annotations

import os
from types import FrameType

from torch import nn

from dap_server.engine.anatomy.modules import source_of_class
from dap_server.engine.execution.motions import Motion, Plan
from dap_server.engine.execution.stops import Stop
from dap_server.engine.inspection.python_frames import is_library
from dap_server.engine.program.python_debugger import FILTERS, Line, LineState, PythonDebugger
from dap_server.engine.program.python_stops import PythonStop, stand_at
from dap_server.engine.session import EngineSession
from dap_server.protocol.events import BreakpointEventBody, OutputEventBody
from dap_server.protocol.llm.control import PlaceBreakpoint
from dap_server.protocol.types import Breakpoint, Source


def debugger(session: EngineSession) -> PythonDebugger:
    """That of the session. It imports nothing before it has something to do."""
    if session.python is None:

        def stands(why: PythonStop, frame: FrameType) -> Motion | None:
            return stand_at(session.ready.stepper, frame, why)

        def changed(state: LineState) -> None:
            body = BreakpointEventBody(reason="changed", breakpoint=_breakpoint(state))
            session.connection.event("breakpoint", body)

        def logged(text: str, path: str | None, line: int | None) -> None:
            source = Source(name=os.path.basename(path), path=path) if path else None
            body = OutputEventBody(output=text, category="console", source=source, line=line if path else None)
            session.connection.event("output", body)

        session.python = PythonDebugger(stands, changed, lambda text: session.output(text, "important"), logged)
    return session.python


def configure(session: EngineSession, is_allowed: bool, just_my_code: bool) -> None:
    """What the launch configuration says of it, or whoever attaches."""
    options = debugger(session).options
    options.is_allowed, options.just_my_code = is_allowed, just_my_code


def is_python(breakpoint: PlaceBreakpoint) -> bool:
    """Whether it is debugpy that finds it."""
    return breakpoint.kind == "python" or (breakpoint.kind == "exception" and breakpoint.name in FILTERS)


def place(session: EngineSession, breakpoints: list[PlaceBreakpoint]) -> list[Breakpoint]:
    """Replaces all those on lines, and the filters of exceptions."""
    if session.python is None and not breakpoints:
        return []
    lines = [
        Line(b.id, b.name, b.line or 1, b.condition, b.hit_condition, b.log_message)
        for b in breakpoints
        if b.kind == "python"
    ]
    filters = {b.id: b.name for b in breakpoints if b.kind == "exception"}
    states = debugger(session).place(lines, filters)
    return [_breakpoint(state) for state in states]


def _breakpoint(state: LineState) -> Breakpoint:
    return Breakpoint(
        verified=state.is_verified,
        id=state.id,
        line=state.line,
        message=state.message,
        reason=None if state.is_verified else "failed",
    )


def resume(session: EngineSession, stop: Stop, motion: Motion) -> None:
    """Goes on by lines. A step into a call of a module whose code is no line to debugpy stops at that module."""
    debuggee = session.ready
    stop.onwards = None if motion is Motion.RUN else motion
    debuggee.references.forget()
    plan = Plan(Motion.IN, only=lambda module: _is_passed_over(session, module)) if motion is Motion.IN else Plan()
    session.afterwards(lambda: debuggee.stepper.go_on(plan))


def _is_passed_over(session: EngineSession, module: nn.Module) -> bool:
    """Whether a step by lines would not stop in its `forward`."""
    source = source_of_class(type(module))
    return source is None or (is_library(source.path) and debugger(session).passes_over(source.path))
