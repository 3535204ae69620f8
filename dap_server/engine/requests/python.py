"""Lines of Python in a session: breakpoints on them, and motions from one."""

from __future__ import annotations

import dis
import os
import sys
import threading
from types import FrameType

from torch import nn

from dap_server.engine.anatomy.modules import SourceLine, source_of_class
from dap_server.engine.execution.final_locals import code_of
from dap_server.engine.execution.motions import Motion, Plan
from dap_server.engine.execution.stops import Stop
from dap_server.engine.inspection.python_frames import in_call, is_library, is_shown, live
from dap_server.engine.program.python_debugger import FILTERS, PythonDebugger
from dap_server.engine.program.python_lines import Line, LineState
from dap_server.engine.program.python_stops import PythonStop, stand_at
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import BreakpointEventBody, OutputEventBody
from dap_server.protocol.llm.control import PlaceBreakpoint
from dap_server.protocol.types import Breakpoint


def debugger(session: EngineSession) -> PythonDebugger:
    """That of the session. It imports nothing before it has something to do."""
    if session.python is None:

        def stands(why: PythonStop, frame: FrameType) -> Motion | None:
            return stand(session, why, frame)

        def changed(state: LineState) -> None:
            body = BreakpointEventBody(reason="changed", breakpoint=_breakpoint(state))
            session.connection.event("breakpoint", body)

        def logged(text: str, path: str | None, line: int | None) -> None:
            source = session.source(path) if path else None
            body = OutputEventBody(output=text, category="console", source=source, line=line if path else None)
            session.connection.event("output", body)

        session.python = PythonDebugger(stands, changed, lambda text: session.output(text, "important"), logged)
    return session.python


def stand(session: EngineSession, why: PythonStop, frame: FrameType) -> Motion | None:
    """Parks the calling thread at a line. Returns by what motion of Python it goes on."""
    models, debuggee = session.models, session.ready
    if models is not None:
        models.stay_outside()
        if models.calls.thread == threading.get_ident():
            debuggee = models.now
    return stand_at(debuggee.stepper, frame, why)


def leaves_call(session: EngineSession) -> bool:
    """A call of a model is about to end in which a step has not: it ends at the line of Python behind the call."""
    frames = live(sys._getframe(1))
    frame = next((one.frame for one in frames if is_shown(one) and not one.is_library), None)
    return frame is not None and debugger(session).step_from(frame, Motion.NEXT)


def pause(session: EngineSession, number: int) -> bool:
    """Stops a thread at its next line, where no call of a model is under way. False: lines are not debugged here."""
    if session.debuggee is not None and session.debuggee.stepper.stage.is_parked:
        return False  # it stands already
    thread = (
        next((one.ident for one in session.threads.all() if one.number == number), None) if session.threads else None
    )
    try:
        debugger(session).pause(thread or threading.main_thread().ident or 0)
    except RequestError:
        return False
    return True


def configure(session: EngineSession, is_allowed: bool, just_my_code: bool, program: str | None = None) -> None:
    """What the launch configuration says of it, or whoever attaches. `program`: the file that is about to run."""
    options = debugger(session).options
    options.is_allowed, options.just_my_code = is_allowed, just_my_code
    options.program = os.path.realpath(program) if program else None


def is_python(breakpoint: PlaceBreakpoint) -> bool:
    """Whether it is debugpy that finds it."""
    return breakpoint.kind == "python" or (breakpoint.kind == "exception" and breakpoint.name in FILTERS)


def place(session: EngineSession, breakpoints: list[PlaceBreakpoint]) -> list[Breakpoint]:
    """Replaces all those on lines, and the filters of exceptions."""
    if session.python is None and not breakpoints:
        return []
    lines = [
        Line(b.id, session.paths.to_program(b.name), b.line or 1, b.condition, b.hit_condition, b.log_message)
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
        reason=None if state.is_verified else "pending" if state.is_pending else "failed",
    )


def resume(session: EngineSession, stop: Stop, motion: Motion) -> None:
    """Goes on by lines. A step into a call of a module whose code is no line to debugpy stops at that module."""
    debuggee = session.ready
    stop.onwards = None if motion is Motion.RUN else motion
    debuggee.references.forget()
    plan = Plan()
    if motion is Motion.IN:
        plan = Plan(motion, only=lambda module: _is_passed_over(session, module))
        if session.models is not None and not in_call(stop):
            session.models.enter(lambda module: _is_passed_over(session, module))
    session.afterwards(lambda: debuggee.stepper.go_on(plan))


def enter(session: EngineSession, stop: Stop) -> None:
    """Goes on to the next line, or into the model that is called before."""
    debuggee = session.ready
    stop.onwards = Motion.NEXT
    debuggee.references.forget()
    if session.models is not None:
        session.models.enter(lambda _module: True)
    session.afterwards(lambda: debuggee.stepper.go_on(Plan()))


def run_to_forward(session: EngineSession, line: SourceLine) -> None:
    """Goes on to the first line of the `forward` that is about to run. Raises NoPythonDebugger."""
    debuggee = session.ready
    debugger(session).run_to(line.path, line.line)
    debuggee.references.forget()
    session.afterwards(lambda: debuggee.stepper.resume(Motion.RUN))


def first_line(session: EngineSession, stop: Stop) -> SourceLine | None:
    """Of the `forward` before which a stop stands; None where there is none, or lines are not debugged."""
    if not debugger(session).options.is_allowed or stop.python is not None or not stop.activations:
        return None
    code = code_of(stop.activations[0].module) if stop.place.phase == "before" and stop.operation is None else None
    if code is None or stop.error is not None:
        return None
    lines = [line for _, line in dis.findlinestarts(code)]
    return SourceLine(code.co_filename, next((line for line in lines if line > code.co_firstlineno), lines[0]))


def _is_passed_over(session: EngineSession, module: nn.Module) -> bool:
    """Whether a step by lines would not stop in its `forward`."""
    source = source_of_class(type(module))
    return source is None or (is_library(source.path) and debugger(session).passes_over(source.path))
