"""Breakpoints on modules, token selection and operations."""

from __future__ import annotations

from dap_server.engine.execution.breakpoints import Wanted
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.llm.control import PlaceBreakpointsArguments
from dap_server.protocol.requests import SetFunctionBreakpointsResponseBody
from dap_server.protocol.types import Breakpoint


@requests.request(command="llm/placeBreakpoints")
def place_breakpoints(session: EngineSession, args: PlaceBreakpointsArguments) -> SetFunctionBreakpointsResponseBody:
    """Replaces all breakpoints by the adapter's, which have their numbers already."""
    wanted = [
        Wanted(b.id, b.name, b.kind, b.phase, b.class_name, b.condition, b.hit_condition, b.log_message)
        for b in args.breakpoints
    ]
    placed = session.ready.set_breakpoints(wanted)
    return SetFunctionBreakpointsResponseBody(
        breakpoints=[
            Breakpoint(verified=b.is_verified, id=b.id, message=b.message, reason=None if b.is_verified else "failed")
            for b in placed
        ]
    )
