"""A short value for each module of a step that has run: the norm of what it gave, behind a layer what it would say."""

from __future__ import annotations

from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import nn

from dap_server.engine.analysis.answers import chosen_token
from dap_server.engine.analysis.lens.reader import LensReader, Question
from dap_server.engine.analysis.lens.residuals import CannotRead
from dap_server.engine.analysis.norms import last_norm
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.probes import Enough, is_again
from dap_server.engine.execution.stage import Stage
from dap_server.engine.execution.stepping import Stop
from dap_server.engine.execution.stops import NOTHING
from dap_server.engine.inspection.frames import Frame
from dap_server.modelmap.places import LOGITS, SAMPLE, STEP


@dataclass(frozen=True)
class Value:
    """Of one path.

    Attributes:
        norm: Euclidean, of the vector at the last position of the output, or of the input of what still runs.
        token: id of what the lens says behind a layer; of the chosen token at `sample`.
    """

    norm: float | None = None
    is_input: bool = False
    token: int | None = None
    probability: float | None = None


class InlineValues:
    """Of one stop at a time. What has been found is kept, since editors ask again at every scroll."""

    def __init__(self, anatomy: Anatomy, stage: Stage) -> None:
        self._anatomy, self._stage = anatomy, stage
        self._stop: Stop | None = None
        self._found: dict[tuple[int, int], dict[str, Value]] = {}

    def held(self, frame: Frame) -> dict[str, Value]:
        """What is known without running anything."""
        if frame.stop is not self._stop:
            self._stop, self._found = frame.stop, {}
        return self._live(frame) | self._found.get(self._key(frame), {})

    def is_complete(self, frame: Frame) -> bool:
        return self._key(frame) in self._found or frame.stop.generation.tape is None

    @torch.no_grad()
    def all(self, frame: Frame) -> dict[str, Value]:
        """Runs the step again where it has not been looked at yet, as far as it has come. Raises Cancelled."""
        held = self.held(frame)
        tape = frame.stop.generation.tape
        if not self.is_complete(frame) and tape is not None:
            is_present = self._is_present(frame)
            running = frame.stop.activations[0] if is_present and frame.stop.activations else None
            probe = _NormsProbe(frame.sequence, frame.stop.generation.sequences, running)
            if not (is_present and frame.stop.place.path == STEP):
                tape.replay(frame.step, probe)
            found = {path: Value(norm) for path, norm in probe.norms.items()}
            self._found[self._key(frame)] = found | self._said(frame, found)
            held = self.held(frame)
        return held

    def _said(self, frame: Frame, found: dict[str, Value]) -> dict[str, Value]:
        """What the lens says behind the layers that have run, where it can read the model."""
        stack = self._anatomy.stacks[-1] if self._anatomy.stacks else []
        layers = [i for i, path in enumerate(stack) if path in found]
        if not layers:
            return {}
        reader = LensReader(frame.stop.generation, frame.step, frame.sequence, self._anatomy, self._stage)
        try:
            said = reader.read(Question(layers=layers, top=1, watch=())).columns[-1].said
        except CannotRead:
            return {}
        return {
            stack[i]: Value(found[stack[i]].norm, False, at.top[0].id, at.top[0].probability)
            for i, at in zip(layers, said, strict=True)
            if at.top
        }

    def _live(self, frame: Frame) -> dict[str, Value]:
        """Of the suspended run: what its running modules were given, what the last one gave, the chosen token."""
        stop, sequence = frame.stop, frame.sequence
        batch = stop.generation.sequences
        values: dict[str, Value] = {}
        if self._is_present(frame):
            for activation in stop.activations:
                path = self._anatomy.path_of(activation.module)
                norm = last_norm((activation.args, activation.kwargs), sequence, batch)
                if path is not None and norm is not None:
                    values[path] = Value(norm, is_input=True)
            if stop.output is not NOTHING and stop.activations:
                values[stop.place.path] = Value(last_norm(stop.output, sequence, batch))
        is_chosen = frame.step < len(stop.generation.records) or stop.place.path in (LOGITS, SAMPLE)
        if is_chosen and stop.generation.is_own_loop and (token := chosen_token(frame)) is not None:
            values[SAMPLE] = Value(token=token, probability=self._probability(frame, token))
        return values

    def _probability(self, frame: Frame, token: int) -> float | None:
        generation = frame.stop.generation
        if frame.step < len(generation.records):
            return float(generation.records[frame.step].probability[frame.sequence])
        selection = generation.selection
        return None if selection is None or selection.waiting else float(selection.probs[frame.sequence, token])

    def _is_present(self, frame: Frame) -> bool:
        return frame.step == frame.stop.place.step and not frame.is_past

    def _key(self, frame: Frame) -> tuple[int, int]:
        return frame.step, frame.sequence


class _NormsProbe:
    """The norm of the last output of every module in a step, up to a call that is suspended just now."""

    def __init__(self, sequence: int, batch: int, suspended: Activation | None) -> None:
        self.norms: dict[str, float] = {}
        self._sequence, self._batch, self._suspended = sequence, batch, suspended

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if is_again(self._suspended, module, call):
            raise Enough

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        norm = last_norm(output, self._sequence, self._batch)
        if norm is not None:
            self.norms[path] = norm

    def at(self, name: str, phase: object) -> None:
        """Token selection may call the model too, which is not meant."""
        if name == LOGITS:
            raise Enough
