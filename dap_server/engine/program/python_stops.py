"""A thread that stands at a line of Python: parked as at a place of a model, so that the same is seen there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from dap_server.engine.execution.activations import live_activations
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.motions import Motion
from dap_server.engine.execution.stepping import Stepper
from dap_server.engine.execution.stops import Stop
from dap_server.modelmap.places import STEP, Place


@dataclass
class PythonStop:
    """Why a thread stands at a line.

    Attributes:
        reason: in DAP's words.
        hits: ids of the breakpoints that are hit.
        text: what is said of it.
        exception: the body of debugpy's `exceptionInfo`.
        onwards: by what motion Python goes on, once it has; None where nothing is to stop it.
        is_interrupted: whether it goes on because of Ctrl+C, which the program has still to see.
    """

    reason: str
    hits: list[int] = field(default_factory=list)
    text: str = ""
    exception: dict[str, Any] | None = None
    onwards: Motion | None = None
    is_interrupted: bool = False


def stand_at(stepper: Stepper, frame: FrameType, why: PythonStop) -> Motion | None:
    """Parks this thread at a line until somebody goes on. Returns by what motion of Python it does.

    Inside a call of the stepper's model the stop is one of that call. A call that is about to be unwound is not stopped
    once more on its way.
    """
    is_inside = stepper.thread == threading.get_ident()
    if is_inside and stepper.flags.interruption is not None:
        return None
    anatomy, generation = stepper.anatomy, stepper.generation if is_inside else Generation()
    running = live_activations(frame) if is_inside else []
    activations = [activation for activation in running if anatomy.path_of(activation.module) is not None]
    place = Place(generation.step, STEP)
    if activations:
        path = anatomy.path_of(activations[0].module) or ""
        place = Place(generation.step, path, "before", stepper.flags.occurrence_of(path))
    stop = Stop(
        place, why.reason, why.hits, activations, generation,
        thread=threading.get_ident(), python=frame, about=why.text, raised=why.exception,
    )  # fmt: skip
    if is_inside:
        stepper.stand(stop)
    else:
        stepper.stand_outside(stop)
    return stop.onwards
