"""Back and forth in time: stepBack, reverseContinue, goto, restartFrame, and their kin beyond the protocol."""

from __future__ import annotations

from collections.abc import Callable

from dap_server.engine.execution.travel import Destination, NoWay, Traveller
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.places import PSEUDO_MODULES, STEP, Place
from dap_server.protocol.errors import InvalidArguments, did_you_mean
from dap_server.protocol.llm import ReverseStepArguments, RunToStepArguments
from dap_server.protocol.requests import (
    GotoArguments,
    GotoTargetsArguments,
    GotoTargetsResponseBody,
    RestartFrameArguments,
    ReverseContinueArguments,
    StepBackArguments,
)
from dap_server.protocol.types import GotoTarget
from dap_server.wire.handlers import When

MAX_TARGETS = 20


@requests.request(when=When.STOPPED)
def step_back(session: EngineSession, _args: StepBackArguments) -> None:
    """To the place before this one at this depth; from a step, to the previous token."""
    _travel(session, Traveller.back)


@requests.request(when=When.STOPPED)
def reverse_continue(session: EngineSession, _args: ReverseContinueArguments) -> None:
    """To the last breakpoint before here, or to the beginning."""
    _travel(session, Traveller.last_hit)


@requests.request(when=When.STOPPED, command="llm/reverseStepIn")
def reverse_step_in(session: EngineSession, _args: ReverseStepArguments) -> None:
    """To the very place before this one, at whatever depth."""
    _travel(session, Traveller.back_in)


@requests.request(when=When.STOPPED, command="llm/reverseStepOut")
def reverse_step_out(session: EngineSession, _args: ReverseStepArguments) -> None:
    """To the beginning of the module around this one."""
    _travel(session, Traveller.back_out)


@requests.request(when=When.STOPPED, command="llm/runToStep")
def run_to_step(session: EngineSession, args: RunToStepArguments) -> None:
    """To any place of any step, past or future."""
    if args.step < 0:
        raise InvalidArguments(f"'llm/runToStep': step {args.step} is below 0 at `$.step`")
    path = STEP if args.path is None else args.path
    modules = session.ready.anatomy.modules
    if path not in modules and path not in PSEUDO_MODULES:
        hint = did_you_mean(path, modules)
        raise InvalidArguments(f"'llm/runToStep': no module '{path}' at `$.path`{hint}")
    if path == STEP and not session.stop.generation.is_own_loop:
        path = ""
    _go(session, Destination(Place(args.step, path, args.phase), "goto"))


@requests.request(when=When.STOPPED)
def restart_frame(session: EngineSession, args: RestartFrameArguments) -> None:
    """To the beginning of the frame's module, or of its step."""
    frame = session.ready.references.frame(args.frame_id)
    _go(session, Destination(_beginning(frame), "restart"))


@requests.request(when=When.STOPPED)
def goto_targets(session: EngineSession, args: GotoTargetsArguments) -> GotoTargetsResponseBody:
    """The modules whose `forward` is on the line, in this step and the next, and around."""
    debuggee, stop = session.ready, session.stop
    debuggee.goto_targets = places = _places_on(session, args.source.path or "", args.line, stop.place.step)
    targets = [
        GotoTarget(id=i, label=f"{debuggee.anatomy.name_of(place.path)} · step {place.step}", line=args.line)
        for i, place in enumerate(places, start=1)
    ]
    return GotoTargetsResponseBody(targets=targets)


@requests.request(when=When.STOPPED)
def goto(session: EngineSession, args: GotoArguments) -> None:
    """To a target that `gotoTargets` offered."""
    places = session.ready.goto_targets
    if not 1 <= args.target_id <= len(places):
        raise InvalidArguments(f"'goto': no target {args.target_id} at `$.targetId`: ask for gotoTargets again")
    _go(session, Destination(places[args.target_id - 1], "goto"))


def _travel(session: EngineSession, find: Callable[[Traveller], Destination]) -> None:
    stepper, stop = session.ready.stepper, session.stop
    destination = session.on_model_thread(lambda: find(Traveller(stepper, stop, stepper.stage.check_cancelled)))
    _go(session, destination)


def _go(session: EngineSession, destination: Destination) -> None:
    debuggee, stop = session.ready, session.stop
    if stop.generation.tape is None:
        raise NoWay("there is nothing to go back to: going back works inside one generate call")
    debuggee.references.forget()
    session.afterwards(lambda: debuggee.stepper.travel(destination.place, destination.reason))


def _beginning(frame: Frame) -> Place:
    own_loop = frame.stop.generation.is_own_loop
    if frame.kind == "prompt":
        return Place(0, STEP if own_loop else "")
    if frame.path is None:
        return Place(frame.step, STEP if own_loop else "")
    occurrence = frame.stop.place.occurrence if frame.is_top else 0
    return Place(frame.step, frame.path, "before", occurrence)


def _places_on(session: EngineSession, file: str, line: int, step: int) -> list[Place]:
    """Places of the modules whose class has its `forward` around a line: this step's, the next one's, then others."""
    anatomy = session.ready.anatomy
    paths = [path for path in anatomy.modules if anatomy.is_written_at(path, file, line)]
    here, following = [Place(step, path) for path in paths], [Place(step + 1, path) for path in paths]
    if len(paths) != 1:
        return [*here, *following][:MAX_TARGETS]
    nearest = sorted(range(max(0, step - MAX_TARGETS), step), reverse=True)
    return [*here, *following, *(Place(s, paths[0]) for s in nearest)][:MAX_TARGETS]
