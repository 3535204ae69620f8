"""Breakpoints of all kinds, and what they cost."""

from __future__ import annotations

from dap_server.conditions.python_filters import UNCAUGHT
from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.requests import python
from dap_server.engine.requests.programs import told
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.llm.control import PlaceBreakpointsArguments
from dap_server.protocol.llm.costs import BreakpointCost, BreakpointCostsArguments, BreakpointCostsResponseBody
from dap_server.protocol.requests import SetFunctionBreakpointsResponseBody
from dap_server.protocol.types import Breakpoint

NO_MODEL = "the program has not called a model yet"


@requests.request(command="llm/placeBreakpoints", needs_model=False)
def place_breakpoints(session: EngineSession, args: PlaceBreakpointsArguments) -> SetFunctionBreakpointsResponseBody:
    """Replaces all breakpoints by the adapter's, which have their numbers already."""
    of_program = [b.id for b in args.breakpoints if b.kind == "exception" and b.name == UNCAUGHT]
    if session.uncaught is not None:
        session.uncaught.is_wanted = bool(of_program)
    of_python = [b for b in args.breakpoints if python.is_python(b)]
    wanted = [
        Wanted(b.id, b.name, b.kind, b.phase, b.class_name, b.condition, b.hit_condition, b.log_message)
        for b in args.breakpoints
        if b.kind != "python" and not python.is_python(b) and b.id not in of_program
    ]
    lines = [*python.place(session, of_python), *(Breakpoint(verified=True, id=id) for id in of_program)]
    return SetFunctionBreakpointsResponseBody(breakpoints=[*_placed(session, wanted), *lines])


def _placed(session: EngineSession, wanted: list[Wanted]) -> list[Breakpoint]:
    if session.models is not None:
        return [told(one) for one in session.models.set_breakpoints(wanted)]
    if session.debuggee is None and session.script is not None:
        return [Breakpoint(verified=False, id=b.id, message=NO_MODEL, reason="pending") for b in wanted]
    return [
        Breakpoint(verified=b.is_verified, id=b.id, message=b.message, reason=None if b.is_verified else "failed")
        for b in session.ready.set_breakpoints(wanted)
    ]


@requests.request(command="llm/breakpointCosts", needs_model=False)
def breakpoint_costs(session: EngineSession, _args: BreakpointCostsArguments) -> BreakpointCostsResponseBody:
    """What every breakpoint costs the run, and when it is judged."""
    stepper = session.ready.stepper
    generation = stepper.generation
    steps = len(generation.records)
    return BreakpointCostsResponseBody(
        breakpoints=[
            BreakpointCost(
                id=b.id,
                name=b.name,
                kind=b.kind,
                places=b.place_count,
                judged=b.judged,
                why=b.why_at_once,
                evaluations=b.cost.evaluations,
                seconds=b.cost.seconds,
                per_token=b.cost.per_step,
                share=b.cost.share(generation),
            )
            for b in stepper.breakpoints.by_id.values()
        ],
        seconds_per_token=generation.seconds / steps if steps else None,
    )
