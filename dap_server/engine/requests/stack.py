"""Frames and scopes of a stop."""

from __future__ import annotations

from types import FrameType

from dap_server.engine.analysis.scopes import analysis_scopes
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.running import running_frames
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.threads import sequence_of, thread_of
from dap_server.engine.session import EngineSession
from dap_server.modelmap.addresses import address_text
from dap_server.protocol.requests import (
    ScopesArguments,
    ScopesResponseBody,
    StackTraceArguments,
    StackTraceResponseBody,
)
from dap_server.protocol.types import Scope, Source, StackFrame
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED)
def stack_trace(session: EngineSession, args: StackTraceArguments) -> StackTraceResponseBody:
    """A page of the stack; `totalFrames` comes with the last one."""
    debuggee, stop = session.ready, session.stop
    start = args.start_frame or 0
    if session.threads is not None:
        thread, _ = thread_of(session, args.thread_id, "stackTrace")
        if thread != session.threads.of(stop.thread):
            return _of_running(session, session.threads.frame(thread), start, args.levels or None)
    sequence = sequence_of(session, args.thread_id, "stackTrace")

    def job() -> StackTraceResponseBody:
        stack = debuggee.call_stack(stop, sequence)
        frames = stack.page(start, args.levels or None)
        is_last = start + len(frames) >= len(stack)
        return StackTraceResponseBody(
            stack_frames=[_stack_frame(session, frame) for frame in frames],
            total_frames=len(stack) if is_last else None,
        )

    return session.on_model_thread(job)


def _of_running(
    session: EngineSession, frame: FrameType | None, start: int, count: int | None
) -> StackTraceResponseBody:
    """Of a thread that goes on while another one stands: where it is at this moment."""
    frames = running_frames(session.stop, frame, session.ready.just_my_code)
    page = frames[start:] if count is None else frames[start : start + count]
    return StackTraceResponseBody(
        stack_frames=[_stack_frame(session, frame) for frame in page],
        total_frames=len(frames),
    )


def _stack_frame(session: EngineSession, frame: Frame) -> StackFrame:
    line = frame.point or frame.source
    return StackFrame(
        id=session.ready.references.add_frame(frame),
        name=frame.name,
        line=line.line if line else 0,
        column=frame.point.column if frame.point else 1 if line else 0,
        source=_source(session, frame) if line else None,
        module_id=_module_id(frame),
        instruction_pointer_reference=address_text(frame.address) if frame.address else None,
        can_restart=False if frame.kind == "python" else None,
        presentation_hint="label" if frame.kind == "label" else "subtle" if frame.is_subtle else None,
    )


def _source(session: EngineSession, frame: Frame) -> Source | None:
    if frame.point is not None:
        return map_source(frame.point.path, frame.point.name)
    return session.source(frame.source.path) if frame.source else None


def map_source(path: str, name: str) -> Source:
    return Source(name=name, path=path, origin="model map")


def _module_id(frame: Frame) -> str | None:
    """As `modules` names it."""
    return None if frame.path is None else frame.path or "."


@requests.request(when=When.STOPPED)
def scopes(session: EngineSession, args: ScopesArguments) -> ScopesResponseBody:
    """What can be seen in a frame."""
    debuggee = session.ready
    frame = debuggee.references.frame(args.frame_id)
    made = session.on_model_thread(lambda: debuggee.scopes.of(frame))
    made.extend(analysis_scopes(frame, debuggee.anatomy, debuggee.vocabulary))
    return ScopesResponseBody(
        scopes=[
            Scope(
                name=scope.name,
                variables_reference=debuggee.references.add_children(scope.children, frame),
                expensive=scope.expensive,
                presentation_hint=scope.hint,
                named_variables=max(scope.children.named, 0) if scope.children.indexed else None,
                indexed_variables=scope.children.indexed or None,
            )
            for scope in made
        ]
    )
