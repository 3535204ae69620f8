"""Local names of a module's Python `forward`: arguments before it runs, live while it does, by a replay after it."""

from __future__ import annotations

from typing import Any

from torch import nn

from dap_server.engine.anatomy.modules import Anatomy, forward_of
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.final_locals import FinalLocals, code_of
from dap_server.engine.inspection.arguments import bound_arguments
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.past import Past
from dap_server.engine.inspection.variables import Positions, Row, describe

QUICK = 10_000_000_000
"""Parameters times tokens of a forward that may run for a hover: tens of milliseconds on an accelerator, half a second
without one."""


class ForwardLocals:
    """Of the frames of one model."""

    def __init__(self, anatomy: Anatomy, past: Past) -> None:
        self._anatomy, self._past = anatomy, past
        self._parameters: int | None = None

    def is_over(self, frame: Frame) -> bool:
        """Whether the frame's `forward` has returned, so that its local names are gone."""
        if frame.stop.generation.tape is None or self._module(frame) is None:
            return False
        if frame.activation is None:
            return frame.kind in ("past layer", "past step")
        return frame.activation.forward is None and frame.stop.place.phase == "after"

    def at_hand(self, frame: Frame) -> dict[str, Any]:
        """What is known without running anything: all of them, or the arguments."""
        if self.is_over(frame) and (known := self._past.known_locals(frame.stop, frame.step, self._path(frame))):
            return known.names
        return {} if frame.activation is None else frame_locals(frame.activation)

    def has(self, frame: Frame, name: str) -> bool:
        """Whether the `forward` of a frame has such a local name, whatever its value."""
        module = self._module(frame)
        code = code_of(module) if module is not None else None
        return code is not None and name in (*code.co_varnames, *code.co_cellvars)

    def again(self, frame: Frame) -> FinalLocals | None:
        """By running the step again; None when the call is not found there."""
        return self._past.locals(frame.stop, frame.step, self._path(frame), frame.activation)

    def output(self, frame: Frame) -> Any:
        """What the call of a frame of the history gave, by running its step again; None when it is not found there."""
        call = self._past.call(frame.stop, frame.step, self._path(frame))
        return None if call is None else call.output

    def is_quick(self, frame: Frame) -> bool:
        """Whether that takes no time worth speaking of."""
        if self._parameters is None:
            self._parameters = sum(p.numel() for p in self._anatomy.model.parameters())
        generation = frame.stop.generation
        width = generation.prompt_length if frame.step == 0 else 1
        return generation.is_own_loop and self._parameters * generation.sequences * width <= QUICK

    def globals_of(self, frame: Frame) -> dict[str, Any]:
        """Names of the file that the frame's `forward` stands in."""
        module = self._module(frame)
        found = getattr(forward_of(type(module)), "__globals__", {}) if module is not None else {}
        return dict(found)

    def rows(self, frame: Frame) -> list[Row]:
        """Of a `forward` that is over: first how they come to be known."""
        found = self.again(frame)
        if found is None:
            return [Row("by replay", "this call was not found when the step ran again")]
        how = Row("by replay", f"as they were when forward returned, at line {found.line}")
        return [how, *(describe(name, value, None, name) for name, value in found.names.items())]

    def live_rows(self, frame: Frame, positions: Positions | None) -> list[Row]:
        return [describe(name, value, positions, name, is_live=True) for name, value in self.at_hand(frame).items()]

    def _path(self, frame: Frame) -> str:
        return frame.path or ""

    def _module(self, frame: Frame) -> nn.Module | None:
        if frame.kind not in ("module", "forward", "past layer", "past step"):
            return None
        return frame.activation.module if frame.activation else self._anatomy.modules.get(self._path(frame))


def frame_locals(activation: Activation) -> dict[str, Any]:
    """Local names of a module's Python `forward`; before it began, its arguments."""
    if activation.forward is not None:
        return dict(activation.forward.f_locals)
    return {"self": activation.module, **bound_arguments(activation)}
