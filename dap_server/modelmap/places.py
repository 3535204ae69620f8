"""Places: where in a generation the model stands. The program counter of this debugger."""

from __future__ import annotations

from typing import Literal, NamedTuple

Phase = Literal["before", "after"]

STEP = "step"
LOGITS = "logits"
SAMPLE = "sample"
END = "end"
PSEUDO_MODULES = (STEP, LOGITS, SAMPLE)
"""What is no module of the model but can carry a breakpoint."""


class Place(NamedTuple):
    """One point of a run.

    Attributes:
        step: generation step; 0 is the prefill, which makes the first new token.
        path: dotted path of the module (empty for the whole model) or name of a pseudo-module.
        phase: before or after its forward.
        occurrence: how many times the module has been called in this step before, for modules called twice.
        operation: name of the operation inside the module, such as `aten::mm`; empty where the module itself stands.
    """

    step: int
    path: str
    phase: Phase = "before"
    occurrence: int = 0
    operation: str = ""

    def __str__(self) -> str:
        if self.path == END:
            return "end of the generation"
        if self.path == STEP:
            return f"step {self.step}"
        again = f", call {self.occurrence + 1}" if self.occurrence else ""
        what = f"{self.operation} of {self.path or 'the model'}" if self.operation else self.path or "the model"
        return f"{self.phase} {what} in step {self.step}{again}"
