"""The numbers that an edit takes from elsewhere, found when it is made: they are part of it from then on."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.analysis.attention.rows import calls_in
from dap_server.engine.analysis.norms import first_tensor
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.edits.changes import Change, Source
from dap_server.engine.execution.edits.checking import modules_of
from dap_server.engine.execution.edits.edit import AttentionValue, ModuleValue, Target
from dap_server.engine.execution.edits.patterns import pattern_by_position
from dap_server.engine.execution.edits.selection import CannotEdit, Selection, StepPositions
from dap_server.engine.execution.generation import Generation, Tape
from dap_server.engine.execution.probes import Captured, Enough, LastCallProbe
from dap_server.engine.inspection.frames import Frame


class Sources:
    """Looks values up for edits that are made in one frame. On the model thread; runs forwards."""

    def __init__(self, frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        self._frame, self._anatomy, self._vocabulary = frame, anatomy, vocabulary

    def found(self, target: Target, change: Change) -> list[tuple[Target, Change]]:
        """The edit with its numbers; several where each of the modules that a glob names has its own.

        Raises:
            CannotEdit: there are none, or they do not fit.
        """
        if change.tensor is not None or change.kind not in ("patch", "mean", "resample", "freeze"):
            return [(target, change)]
        if isinstance(target, AttentionValue) and change.kind == "freeze":
            return self._patterns(target, change)
        if not isinstance(target, ModuleValue):
            if change.kind == "patch":
                raise CannotEdit("values of modules can be taken from elsewhere, and no others: give the numbers")
            return [(target, change)]
        several = [replace(target, path=path) for path in modules_of(target.path, self._anatomy)]
        return [(one, replace(change, tensor=self._tensor(one, change))) for one in several]

    def _patterns(self, target: AttentionValue, change: Change) -> list[tuple[Target, Change]]:
        """Where heads look in the step of the frame, for every call of attention in the modules that are named."""
        found: list[tuple[Target, Change]] = []
        for path in modules_of(target.path, self._anatomy):
            for call in calls_in(self._frame, path, self._anatomy):
                weights = torch.stack([call.weights(sequence) for sequence in range(call.shape[0])])
                pattern = pattern_by_position(weights, call.text)
                found.append((replace(target, path=call.path), replace(change, tensor=pattern, source=None)))
        if not found:
            raise CannotEdit(f"'{target.path}' computes no attention that can be heard of, so none can be frozen")
        return found

    def _tensor(self, target: ModuleValue, change: Change) -> Tensor:
        source = change.source or Source(step=0)
        value, positions = self._value(target, source)
        if change.kind == "patch":
            return _selected(value, target.selection, source, positions)
        return self._vectors(value, target.selection, is_prompt=source.prompt is None)

    def _value(self, target: ModuleValue, source: Source) -> tuple[Tensor, StepPositions]:
        """What a module is given or returns (B, T, …), by value, and which part of its text that is about."""
        path = target.path if source.path is None else source.path
        (path,) = modules_of(path, self._anatomy)
        probe = LastCallProbe(path, None)
        if source.prompt is not None:
            if source.branch is not None or source.step:
                raise CannotEdit("of another prompt its prefill is taken: leave out the branch and the step")
            ids = self._ids(source.prompt)
            self._tape.forward(ids, self._frame.sequence, probe)
            positions = StepPositions(1, 0, ids.shape[1])
        elif source.branch is not None:
            positions = self._run_branch(source, probe)
        else:
            generation = self._frame.stop.generation
            step = self._frame.step if source.step is None else source.step
            if step > self._frame.stop.place.step:
                raise CannotEdit(f"step {step} has not run yet: the run stands at {self._frame.stop.place.step}")
            self._tape.replay(step, probe)
            positions = _positions(generation, step)
        value = None if probe.found is None else _part(probe.found, target)
        if value is None:
            raise CannotEdit(f"'{path}' has no tensor there to take")
        return value, positions

    def _run_branch(self, source: Source, probe: LastCallProbe) -> StepPositions:
        """Runs a step of another branch, as it was there."""
        generation = self._frame.stop.generation
        branch = generation.branches.of(source.branch or 0)
        step = self._frame.step if source.step is None else source.step
        if not generation.is_own_loop:
            raise CannotEdit("this way of decoding knows no branches whose steps could be run again")
        if step > len(branch.records):
            raise CannotEdit(f"{branch.name} has run {len(branch.records)} steps, and step {step} is none of them")
        with contextlib.suppress(Enough):
            self._tape.follow(range(step, step + 1), Branches(branch), lambda _step: probe, lambda *_: None)
        if generation.run is None or branch.edits.prompts == generation.edits.prompts:
            return _positions(generation, step)
        return _positions(replace(generation, prompt_length=generation.run.prompt_length(branch.edits)), step)

    @property
    def _tape(self) -> Tape:
        tape = self._frame.stop.generation.tape
        if tape is None:
            raise CannotEdit("no step of this run can be run again to take values from")
        return tape

    def _ids(self, prompt: str) -> Tensor:
        """(1, T) as a launch configuration would have it."""
        tokenizer = self._vocabulary.tokenizer
        if tokenizer is None:
            raise CannotEdit("there is no tokenizer to read a prompt with")
        ids: Tensor = tokenizer(prompt, return_tensors="pt")["input_ids"]
        if not ids.numel():
            raise CannotEdit("the prompt is empty")
        return ids.to(self._frame.stop.generation.device)

    def _vectors(self, value: Tensor, selection: Selection, is_prompt: bool) -> Tensor:
        """(N, D) at all positions of the text that are no padding."""
        mask = self._frame.stop.generation.attention_mask if is_prompt else None
        rows = value.reshape(-1, value.shape[-1]) if value.dim() > 1 else value[None]
        if mask is not None and value.shape[:2] == mask.shape:
            rows = rows[mask.reshape(-1).bool()]
        return rows if selection.neurons is None else rows[:, list(selection.neurons)]


def _positions(generation: Generation, step: int) -> StepPositions:
    """Those of a step that has a cache."""
    count = generation.prompt_length if step == 0 else 1
    return StepPositions(generation.sequences, generation.prompt_length + step - count, count)


def _part(call: Captured, target: ModuleValue) -> Tensor | None:
    """The tensor that a target means."""
    value: Any = call.output if target.value == "output" else call.kwargs if target.part in call.kwargs else call.args
    if target.value == "input" and target.part is None:
        value = (call.args, call.kwargs)
    if target.part is not None and not isinstance(value, Tensor):
        items = value if isinstance(value, dict) else dict(enumerate(value))
        value = items.get(target.part)
    return first_tensor(value, is_any=True)


def _selected(value: Tensor, selection: Selection, source: Source, positions: StepPositions) -> Tensor:
    """The elements that a target selects, at the positions of the source; those of one text go to all sequences."""
    wanted = selection.positions if source.positions is None else source.positions
    sequences = None if source.prompt is not None else selection.sequences
    there = replace(selection, positions=wanted, sequences=sequences)
    if there.index is None and wanted is not None and sequences is None:
        there = replace(there, sequences=tuple(range(positions.sequences)))
    index = there.of(value.shape, positions)
    missing = [] if wanted is None else [p for p in wanted if not positions.indices_of([p])]
    if index is None or missing:
        which = ", ".join(map(str, missing))
        raise CannotEdit(f"no position {which} there: it has {positions.first} to {positions.end - 1}")
    return torch.clone(value[index])
