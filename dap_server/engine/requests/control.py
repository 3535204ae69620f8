"""Going on and stopping: continue, next, stepIn, stepOut, stepInTargets, pause."""

from __future__ import annotations

from torch import nn

from dap_server.engine.anatomy.modules import is_called
from dap_server.engine.execution.motions import BY_OPERATION, Motion
from dap_server.engine.execution.stops import Stop
from dap_server.engine.inspection.python_frames import in_call
from dap_server.engine.requests import python
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.places import END, LOGITS, SAMPLE, STEP
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.requests import (
    ContinueArguments,
    ContinueResponseBody,
    NextArguments,
    PauseArguments,
    StepInArguments,
    StepInTargetsArguments,
    StepInTargetsResponseBody,
    StepOutArguments,
)
from dap_server.protocol.types import StepInTarget
from dap_server.wire.handlers import When

FIRST_OPERATION = "first operation"
FORWARD = "forward (Python)"
INTO_MODEL = "into the model"


@requests.request(when=When.STOPPED)
def continue_(session: EngineSession, _args: ContinueArguments) -> ContinueResponseBody:
    """Runs to the next breakpoint, or to the end."""
    _resume(session, Motion.RUN)
    return ContinueResponseBody(all_threads_continued=True)


@requests.request(when=When.STOPPED)
def next(session: EngineSession, args: NextArguments) -> None:
    """Runs to the next module at this depth, or to the next operation; from a step, to the next token."""
    _resume(session, Motion.OPERATION if args.granularity == "instruction" else Motion.NEXT)


@requests.request(when=When.STOPPED)
def step_in(session: EngineSession, args: StepInArguments) -> None:
    """Runs to the first submodule, to the chosen one, or to the next operation."""
    target: nn.Module | None = None
    motion = Motion.OPERATION if args.granularity == "instruction" else Motion.IN
    if args.target_id is not None:
        targets, forward = _targets(session), python.first_line(session, session.stop)
        if targets is not None and args.target_id == len(targets) + 1:
            _resume(session, Motion.OPERATION)
            return
        if targets is not None and forward is not None and args.target_id == len(targets) + 2:
            python.run_to_forward(session, forward)
            return
        if _is_outside(session.stop) and args.target_id == 1:
            python.enter(session, session.stop)
            return
        if targets is None or not 1 <= args.target_id <= len(targets):
            raise InvalidArguments(f"'stepIn': no target {args.target_id} here: ask for stepInTargets again")
        target = session.ready.anatomy.modules[targets[args.target_id - 1]]
        motion = Motion.IN
    _resume(session, motion, target)


@requests.request(when=When.STOPPED)
def step_out(session: EngineSession, args: StepOutArguments) -> None:
    """Runs to the end of the module around this one, or to the first operation behind it.

    From the whole model it is the next token.
    """
    _resume(session, Motion.OPERATION_OUT if args.granularity == "instruction" else Motion.OUT)


@requests.request(when=When.STOPPED)
def step_in_targets(session: EngineSession, args: StepInTargetsArguments) -> StepInTargetsResponseBody:
    """The submodules that `stepIn` can be sent to, in registration order, then the first operation and the first line.

    From a line of Python around which no model is called: whichever model is called next.
    """
    frame = session.ready.references.frame(args.frame_id)
    paths = _targets(session) if frame.is_top or not frame.stop.activations else None
    if _is_outside(session.stop):
        return StepInTargetsResponseBody(targets=[StepInTarget(id=1, label=INTO_MODEL)])
    if paths is None:
        return StepInTargetsResponseBody(targets=[])
    anatomy = session.ready.anatomy
    targets = [
        StepInTarget(id=i, label=f"{anatomy.name_of(path)} · {type(anatomy.modules[path]).__name__}")
        for i, path in enumerate(paths, start=1)
    ]
    targets.append(StepInTarget(id=len(paths) + 1, label=FIRST_OPERATION))
    if python.first_line(session, session.stop) is not None:
        targets.append(StepInTarget(id=len(paths) + 2, label=FORWARD))
    return StepInTargetsResponseBody(targets=targets)


@requests.request()
def pause(session: EngineSession, args: PauseArguments) -> None:
    """Stops at the next module call; in a program also at the next line, where no call is under way."""
    if session.models is not None and not session.models.in_call:
        python.pause(session, args.thread_id)
    session.afterwards(session.ready.stepper.pause if session.models is None else session.models.pause)


def _resume(session: EngineSession, motion: Motion, target: nn.Module | None = None) -> None:
    debuggee, stop = session.ready, session.stop
    if stop.python is not None and target is None and motion not in BY_OPERATION:
        python.resume(session, stop, motion)
        return
    debuggee.references.forget()
    session.afterwards(lambda: debuggee.stepper.resume(motion, target))


def _is_outside(stop: Stop) -> bool:
    """Whether a stop is at a line of Python around which no model is called."""
    return stop.python is not None and not in_call(stop)


def _targets(session: EngineSession) -> list[str] | None:
    """Paths of the modules that the module of the stop may call; a bare list stands for its members.

    None where there is nothing to step into.
    """
    place, anatomy = session.stop.place, session.ready.anatomy
    if place.path == STEP:
        return [""]
    if (
        place.path in (LOGITS, SAMPLE, END)
        or place.path not in anatomy.modules
        or place.phase == "after"
        or place.operation
    ):
        return None
    return _called_children(anatomy.modules[place.path], place.path)


def _called_children(module: nn.Module, path: str) -> list[str]:
    found: list[str] = []
    for name, child in module.named_children():
        child_path = f"{path}.{name}" if path else name
        if is_called(child):
            found.append(child_path)
        else:
            found.extend(_called_children(child, child_path))
    return found
