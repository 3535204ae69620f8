"""Threads, frames and scopes of a stop."""

from __future__ import annotations

import os

from dap_server.engine.analysis.scopes import analysis_scopes
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.requests.table import requests
from dap_server.engine.session import MAX_THREADS, EngineSession
from dap_server.modelmap.addresses import address_text
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.requests import (
    ScopesArguments,
    ScopesResponseBody,
    StackTraceArguments,
    StackTraceResponseBody,
    ThreadsResponseBody,
)
from dap_server.protocol.types import Scope, Source, StackFrame, Thread
from dap_server.wire.handlers import When

MAX_NAME = 40


@requests.request()
def threads(session: EngineSession) -> ThreadsResponseBody:
    """One per sequence of the batch, up to eight; a model that still loads is one too."""
    debuggee = session.debuggee
    if debuggee is None or debuggee.run is None:
        return ThreadsResponseBody(threads=[Thread(id=1, name="model (loading)")])
    count = _thread_count(session)
    if count == 1 and debuggee.stepper.generation.sequences > 1:
        return ThreadsResponseBody(threads=[Thread(id=1, name=f"{debuggee.stepper.generation.sequences} sequences")])
    return ThreadsResponseBody(threads=[Thread(id=i + 1, name=_thread_name(session, i)) for i in range(count)])


def _thread_count(session: EngineSession) -> int:
    sequences = session.ready.stepper.generation.sequences
    return sequences if sequences <= MAX_THREADS else 1


def _thread_name(session: EngineSession, sequence: int) -> str:
    """`sequence 1: The capital of…`, and whether it has finished, as far as the model thread is not needed for it."""
    debuggee = session.ready
    run = debuggee.run
    assert run is not None
    ids = run.inputs["input_ids"]
    row = ids[sequence % ids.shape[0]].tolist()
    text = " ".join(debuggee.vocabulary.readable(row).split())
    shown = text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
    return f"sequence {sequence + 1}: {shown}{' (finished)' if _is_finished(session, sequence) else ''}"


def _is_finished(session: EngineSession, sequence: int) -> bool:
    stop = session.ready.stepper.stop
    if stop is None or stop.generation.unfinished is None:
        return False
    unfinished = stop.generation.unfinished
    return not session.on_model_thread(lambda: bool(unfinished[sequence]))


def sequence_of(session: EngineSession, thread_id: int, command: str) -> int:
    """Index in the batch of a thread's sequence. Raises InvalidArguments."""
    if not 1 <= thread_id <= _thread_count(session):
        raise InvalidArguments(f"'{command}': no thread {thread_id} at `$.threadId`: ask for the threads again")
    return thread_id - 1


@requests.request(when=When.STOPPED)
def stack_trace(session: EngineSession, args: StackTraceArguments) -> StackTraceResponseBody:
    """A page of the stack; `totalFrames` comes with the last one."""
    sequence = sequence_of(session, args.thread_id, "stackTrace")
    debuggee, stop = session.ready, session.stop
    start = args.start_frame or 0

    def job() -> StackTraceResponseBody:
        stack = debuggee.call_stack(stop, sequence)
        frames = stack.page(start, args.levels or None)
        is_last = start + len(frames) >= len(stack)
        return StackTraceResponseBody(
            stack_frames=[_stack_frame(session, frame) for frame in frames],
            total_frames=len(stack) if is_last else None,
        )

    return session.on_model_thread(job)


def _stack_frame(session: EngineSession, frame: Frame) -> StackFrame:
    line = frame.point or frame.source
    return StackFrame(
        id=session.ready.references.add_frame(frame),
        name=frame.name,
        line=line.line if line else 0,
        column=frame.point.column if frame.point else 1 if line else 0,
        source=_source(frame) if line else None,
        module_id=_module_id(frame),
        instruction_pointer_reference=address_text(frame.address) if frame.address else None,
        presentation_hint="label" if frame.kind == "label" else "subtle" if frame.is_past else None,
    )


def _source(frame: Frame) -> Source | None:
    if frame.point is not None:
        return map_source(frame.point.path, frame.point.name)
    return Source(name=os.path.basename(frame.source.path), path=frame.source.path) if frame.source else None


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
