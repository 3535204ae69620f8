"""Back and forth in time: stepBack, reverseContinue, goto, restartFrame, and their kin beyond the protocol."""

from __future__ import annotations

from collections.abc import Callable

from dap_server.engine.anatomy.processors import is_logits_processor
from dap_server.engine.execution.breakpoints import why_never_called
from dap_server.engine.execution.stepping import Stop
from dap_server.engine.execution.travel import Destination, NoWay, Traveller
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.files import MapFile, UnreadableMap
from dap_server.modelmap.paths import is_map, local_path
from dap_server.modelmap.places import LOGITS, SAMPLE, STEP, Phase, Place
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.control import ReverseStepArguments, RunToStepArguments
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
def step_back(session: EngineSession, args: StepBackArguments) -> None:
    """To the place before this one at this depth, or to the operation before; from a step, to the previous token."""
    _travel(session, Traveller.back_by_operation if args.granularity == "instruction" else Traveller.back)


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
    generation = session.stop.generation
    path = STEP if args.path is None else args.path
    problem = None if path == STEP else _why_never_passed(session, path)
    if problem:
        raise InvalidArguments(f"'llm/runToStep': {problem} at `$.path`")
    if path == STEP:
        _go(session, Destination(Place(args.step, STEP if generation.is_own_loop else ""), "goto"))
    else:
        _go(session, Destination(Place(args.step, path, args.phase), "goto"))


@requests.request(when=When.STOPPED)
def restart_frame(session: EngineSession, args: RestartFrameArguments) -> None:
    """To the beginning of the frame's module, or of its step."""
    frame = session.ready.references.frame(args.frame_id)
    if frame.kind == "label":
        raise InvalidArguments("'restartFrame': this frame is a heading, at `$.frameId`")
    if frame.kind == "python":
        raise InvalidArguments("'restartFrame': a function of Python does not run again, at `$.frameId`")
    path = frame.path
    if frame.activation is not None and path is not None:
        _travel(session, lambda traveller: traveller.beginning_of(path))
    else:
        _go(session, Destination(_beginning(frame), "restart"))


@requests.request(when=When.STOPPED)
def goto_targets(session: EngineSession, args: GotoTargetsArguments) -> GotoTargetsResponseBody:
    """The place on the line of a map, or the modules whose `forward` is on it; in this step, the next, and around."""
    debuggee, stop = session.ready, session.stop
    path = local_path(args.source.path or "")
    on_map = is_map(path)
    path = path if on_map else session.paths.to_program(path)
    places = _places_on_map(session, path, args.line) if on_map else _places_on(session, path, args.line, stop)
    first = len(debuggee.goto_targets) + 1
    debuggee.goto_targets.extend(places)
    targets = [
        GotoTarget(id=i, label=_label(session, place, with_phase=on_map), line=args.line)
        for i, place in enumerate(places, start=first)
    ]
    return GotoTargetsResponseBody(targets=targets)


def _label(session: EngineSession, place: Place, with_phase: bool) -> str:
    if place.path == STEP:
        return f"step {place.step}"
    phase = f"{place.phase} " if with_phase else ""
    return f"{phase}{session.ready.anatomy.name_of(place.path)} · step {place.step}"


@requests.request(when=When.STOPPED)
def goto(session: EngineSession, args: GotoArguments) -> None:
    """To a target that `gotoTargets` offered."""
    places = session.ready.goto_targets
    if not 1 <= args.target_id <= len(places):
        raise InvalidArguments(f"'goto': no target {args.target_id} at `$.targetId`: ask for gotoTargets again")
    _go(session, Destination(places[args.target_id - 1], "goto"))


def _travel(session: EngineSession, find: Callable[[Traveller], Destination]) -> None:
    stepper, stop = session.ready.stepper, session.stop
    _require_call(session)
    destination = session.on_model_thread(lambda: find(Traveller(stepper, stop)))
    _go(session, destination)


def _go(session: EngineSession, destination: Destination) -> None:
    debuggee, stop = session.ready, session.stop
    _require_call(session)
    if stop.generation.is_over and destination.place.step > stop.place.step:
        raise NoWay(f"the generation is over: its last step is {stop.place.step}")
    debuggee.references.forget()
    session.afterwards(lambda: debuggee.stepper.travel(*destination))


def _require_call(session: EngineSession) -> None:
    """Raises NoWay: nothing stands that could run again."""
    if session.ready.anatomy.is_empty:
        raise NoWay("no model has been called yet")
    stop = session.stop
    if stop.generation.tape is None and stop.error is not None:
        raise NoWay("nothing runs any more on the device that has failed: start the program again to go anywhere")
    if stop.generation.tape is None:
        raise NoWay("there is nothing to go back to: going back works inside one call of a model")


def _why_never_passed(session: EngineSession, path: str) -> str | None:
    anatomy, own_loop = session.ready.anatomy, session.stop.generation.is_own_loop
    if path in (LOGITS, SAMPLE, STEP) or is_logits_processor(path):
        return None if own_loop else f"this decoding method does not tell when it is at '{path}': give a module"
    return why_never_called(path, anatomy)


def _beginning(frame: Frame) -> Place:
    own_loop = frame.stop.generation.is_own_loop
    if frame.kind == "prompt":
        return Place(0, STEP if own_loop else "")
    place = frame.stop.place
    if frame.kind in ("selection", "call") and not frame.stop.activations:
        return place._replace(phase="before")
    if frame.path is None:
        return Place(frame.step, STEP if own_loop else "")
    return Place(frame.step, frame.path)


def _places_on_map(session: EngineSession, file: str, line: int) -> list[Place]:
    """What stands on a line of a map: before and after it in this step and the next, before it in earlier ones."""
    try:
        place = MapFile(file).text.at(line)
    except UnreadableMap as error:
        raise InvalidArguments(f"'gotoTargets': {error}, at `$.source`") from None
    if place is None or not place.can_stop or _why_never_passed(session, place.path) is not None:
        return []
    generation, step = session.stop.generation, session.stop.place.step
    phases: tuple[Phase, ...] = ("before",) if place.path == STEP else ("before", "after")
    steps = [step] if generation.is_over else [step, step + 1]
    forward = [Place(s, place.path, phase) for s in steps for phase in phases]
    earlier = [Place(s, place.path) for s in range(step - 1, max(-1, step - MAX_TARGETS), -1)]
    return [*forward, *earlier][:MAX_TARGETS]


def _places_on(session: EngineSession, file: str, line: int, stop: Stop) -> list[Place]:
    """Places of the modules whose class has its `forward` around a line: this step's, the next one's, then others."""
    anatomy = session.ready.anatomy
    paths = [path for path in anatomy.modules if anatomy.is_written_at(path, file, line)]
    step = stop.place.step
    here = [Place(step, path) for path in paths]
    following = [] if stop.generation.is_over else [Place(step + 1, path) for path in paths]
    if len(paths) != 1:
        return [*here, *following][:MAX_TARGETS]
    nearest = sorted(range(max(0, step - MAX_TARGETS), step), reverse=True)
    return [*here, *following, *(Place(s, paths[0]) for s in nearest)][:MAX_TARGETS]
