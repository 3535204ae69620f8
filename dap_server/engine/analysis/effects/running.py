"""A step run with a list of edits, and what is seen of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.effects.sizes import Size, SizeProbe
from dap_server.engine.analysis.lens.residuals import CannotRead, Stream, StreamProbe
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.edit import Edit
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.generation import Generation, Selection
from dap_server.engine.execution.randomness import CannotDraw
from dap_server.modelmap.places import LOGITS, STEP, Phase

OTHER_TEXT = "the positions of another prompt are others"
"""Why the residual stream of one is not compared with that of another."""


@dataclass(frozen=True)
class StepRun:
    """What one step came to.

    Attributes:
        logits: (B, V) of the next token as the model gives them, before any logits processor. Of a model that does not
            generate (B, labels), or (B, T, V).
        scores: (B, V) after the logits processors; None in another loop than ours.
        tokens: (B,) that are chosen; None in another loop.
        stream: its residual stream at all positions; None where it cannot be read, for the reason `unread`.
        sizes: of the places that edits are about, by their numbers and places.
        met: numbers of edits that had something to change in it.
        problems: by number, why an edit could not be applied.
    """

    logits: Tensor
    scores: Tensor | None = None
    tokens: Tensor | None = None
    stream: Stream | None = None
    unread: str = ""
    sizes: dict[tuple[int, str], Size] = field(default_factory=dict)
    met: frozenset[int] = frozenset()
    problems: dict[int, str] = field(default_factory=dict)


class StepProbe:
    """Sees the residual stream of a step to its end, its logits, and how large the places of edits are."""

    def __init__(
        self,
        anatomy: Anatomy,
        sizes: SizeProbe | None = None,
        unread: str = "",
        keeps_positions: bool = False,
    ) -> None:
        """`unread`: why the stream is not wanted. `keeps_positions`: whether the logits of all positions are."""
        self._keeps_positions = keeps_positions
        self.logits: Tensor | None = None
        self.unread = unread
        self._stream, self._sizes = StreamProbe(anatomy, None), sizes
        self._is_deaf = False  # token selection may call the model too

    @property
    def sizes(self) -> dict[tuple[int, str], Size]:
        return {} if self._sizes is None else self._sizes.found

    @property
    def stream(self) -> Stream | None:
        try:
            return None if self.unread else self._stream.stream
        except CannotRead as error:
            self.unread = str(error)
            return None

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if self._is_deaf:
            return
        if self._sizes is not None:
            self._sizes.begins(path, call.f_locals["args"], call.f_locals["kwargs"])
        if not self.unread:
            try:
                self._stream.begins(path, module, call)
            except CannotRead as error:
                self.unread = str(error)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if self._is_deaf:
            return
        if self._sizes is not None:
            self._sizes.ends(path, output)
        if path == "" and isinstance(logits := getattr(output, "logits", None), Tensor):
            wanted = logits if logits.dim() == 2 or self._keeps_positions else logits[:, -1]
            self.logits = wanted.detach().to(torch.float32, copy=True)
        if not self.unread:
            try:
                self._stream.ends(path, module, output)
            except CannotRead as error:
                self.unread = str(error)

    def at(self, name: str, phase: Phase) -> None:
        if name == LOGITS:
            self._is_deaf = True
        elif name == STEP:
            self._is_deaf = False


def run_step(
    generation: Generation,
    anatomy: Anatomy,
    edits: Edits,
    step: int,
    measured: Sequence[Edit] = (),
    unread: str = "",
) -> StepRun:
    """Runs a step with a list of edits beside the suspended run, along its text.

    Args:
        measured: edits whose places are measured, applied or not.
        unread: why the residual stream is not wanted; it is if nothing is said.

    Raises:
        CannotRead: the call cannot run again, or gives no logits.
    """
    if (tape := generation.tape) is None:
        raise CannotRead("there is no call of the model here that could run again")
    supposed = generation.branches.supposing(edits)
    probe = StepProbe(anatomy, SizeProbe(measured, anatomy), unread, generation.is_forward)
    chosen: list[Selection] = []
    with torch.no_grad():
        if generation.is_own_loop:
            steps = range(step, step + 1)
            with contextlib.suppress(CannotDraw):  # it has seen what ran before the draw
                tape.follow(steps, supposed, lambda _step: probe, lambda _step, selection: chosen.append(selection))
        else:
            tape.replay(step, probe, supposed)
    logits = chosen[0].logits if chosen else probe.logits
    if logits is None:
        raise CannotRead("the model gives no logits: it has no head that says anything")
    stream, outcomes = probe.stream, supposed.outcomes
    return StepRun(
        logits=logits,
        scores=chosen[0].scores if chosen else None,
        tokens=chosen[0].tokens if chosen else None,
        stream=stream,
        unread=probe.unread,
        sizes=probe.sizes,
        met=frozenset(id for id, steps_met in outcomes.met.items() if step in steps_met),
        problems=dict(outcomes.problems),
    )


def padding_before(generation: Generation, step: int, sequence: int) -> int:
    """How many positions of a step's forward are before the text of a sequence."""
    mask = generation.attention_mask
    return 0 if step or mask is None else int((mask[sequence] != 0).int().argmax())
