"""How a run goes on from a stop, and what ends that."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from types import FrameType

from torch import nn

from dap_server.engine.execution.activations import enclosing_call
from dap_server.modelmap.places import STEP, Place

HIT = "function breakpoint"
"""The reason of a stop at a breakpoint, in DAP's words."""


class Motion(enum.Enum):
    """How a run goes on."""

    RUN = "continue"
    IN = "stepIn"
    NEXT = "next"
    OUT = "stepOut"
    TOKEN = "next token"
    PAUSE = "pause"
    TO = "to a place"


@dataclass(frozen=True)
class Plan:
    """What ends the present stretch of running, besides breakpoints.

    Attributes:
        parent: the module call around the last stop; its end ends NEXT, IN and OUT. None is the step itself.
        target: the only module that ends IN, when one was chosen.
        place: the only place that ends TO, whatever breakpoints lie on the way.
        reason: of the stop, in DAP's words.
    """

    motion: Motion = Motion.RUN
    parent: FrameType | None = None
    target: nn.Module | None = None
    place: Place | None = None
    reason: str = "step"


def plan_from(place: Place, call: FrameType | None, motion: Motion, target: nn.Module | None) -> Plan:
    """The plan of a motion from a stop at a place; `call` is the innermost module call there."""
    if place.path == STEP and motion in (Motion.NEXT, Motion.OUT):
        return Plan(Motion.TOKEN)
    if motion in (Motion.RUN, Motion.PAUSE):
        return Plan(motion)
    parent = enclosing_call(call) if call else None
    if motion is Motion.OUT and parent is None:
        return Plan(Motion.TOKEN)
    return Plan(motion, parent, target)
