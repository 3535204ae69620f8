"""The choice of a frame's token, from what the stopped run has kept or by running the step again."""

from __future__ import annotations

import torch
from torch import Tensor

from dap_server.engine.execution.generation import Selection
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.past import Past
from dap_server.engine.inspection.selection import Choice, Stage, choice_of, stages_of


class Choices:
    """Nothing is kept while nobody looks or stops at the places of token selection; a replay knows it all."""

    def __init__(self, past: Past) -> None:
        self._past = past

    def has_choice(self, frame: Frame) -> bool:
        """Whether one can know the choice of the token that a frame's step makes."""
        generation = frame.stop.generation
        return generation.is_own_loop and generation.tape is not None and frame.kind != "prompt"

    def has_stage(self, frame: Frame) -> bool:
        """Whether a frame is that of a logits processor."""
        return frame.processor is not None and self.has_choice(frame)

    def is_kept(self, frame: Frame) -> bool:
        """Whether the choice can be shown without running anything."""
        return self._present(frame) is not None

    def is_stage_kept(self, frame: Frame) -> bool:
        """The same of what the logits processor of a frame does."""
        return self._kept_stage(frame) is not None

    def choice(self, frame: Frame) -> Choice | None:
        """None when it cannot be known. Raises Cancelled."""
        tape, selection = frame.stop.generation.tape, self._present(frame)
        if tape is None or not self.has_choice(frame):
            return None
        if selection is not None:
            tokens = frame.stop.generation.next_tokens()
            is_chosen = selection.tokens is not None
        else:
            selection, is_chosen = self._replayed(frame)
            tokens = None if selection is None else selection.tokens
        if selection is None or tokens is None:
            return None
        return choice_of(selection, tokens, frame.sequence, tape.is_sampled, is_chosen)

    def stage(self, frame: Frame) -> Stage | None:
        """What the logits processor of a frame does, or will do. Raises Cancelled."""
        kept = self._kept_stage(frame)
        if kept is not None:
            return kept
        selection, _ = self._replayed(frame)
        return None if selection is None else _stage_of(selection, frame)

    def token(self, frame: Frame) -> int | None:
        """The id that is chosen, or will be; None where only a replay could tell."""
        selection = self._present(frame)
        if selection is None and self._kept_stage(frame) is None:
            selection, _ = self._replayed(frame)
            tokens: Tensor | None = None if selection is None else selection.tokens
        else:
            tokens = frame.stop.generation.next_tokens() if selection is not None else None
        return None if tokens is None else int(tokens[frame.sequence])

    def _present(self, frame: Frame) -> Selection | None:
        """The choice that is being made just now, if it is this frame's and all of it is known."""
        selection = frame.stop.generation.selection
        is_present = selection is not None and frame.step == frame.stop.generation.step and not frame.is_past
        return selection if selection is not None and is_present and selection.is_known else None

    def _kept_stage(self, frame: Frame) -> Stage | None:
        selection = frame.stop.generation.selection
        return None if selection is None or frame.is_past else _stage_of(selection, frame)

    def _replayed(self, frame: Frame) -> tuple[Selection | None, bool]:
        """The choice as the step makes it when it runs again, and whether the run has made it already."""
        generation = frame.stop.generation
        return self._past.selection(frame.stop, frame.step), frame.step < len(generation.records)


def _stage_of(selection: Selection, frame: Frame) -> Stage | None:
    with torch.no_grad():
        stages = stages_of(selection, frame.sequence)
    return next((stage for stage in stages if stage.processor is frame.processor), None)
