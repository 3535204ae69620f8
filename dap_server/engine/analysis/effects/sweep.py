"""The same change at every layer and position, one at a time: where a fact sits, or what an answer needs.

Activation patching (Vig et al., "Investigating gender bias in language models using causal mediation analysis", 2020;
Meng et al., "Locating and editing factual associations in GPT", 2022): a value of another text's run takes the place
of this one's, and what of the other answer comes back is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.effects.distributions import distance, probability
from dap_server.engine.analysis.effects.running import StepRun, padding_before, run_step
from dap_server.engine.analysis.lens.residuals import hidden_of
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary, require_token
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.checking import modules_of
from dap_server.engine.execution.edits.edit import Edit, ModuleValue, Steps
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import Selection
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stage import Stage
from dap_server.protocol.errors import RequestError

MAX_CELLS = 4096
"""Each is a forward."""

TITLE = "Changing one place after another"

Kind = Literal["patch", "zero", "mean"]


class CannotSweep(RequestError):
    """What is asked for cannot be swept over; the text says what can."""

    id = 59


@dataclass(frozen=True)
class Question:
    """What to change, and what to look at.

    Attributes:
        kind: `patch`: the value of the source takes its place. `zero`. `mean`: the mean over all positions of this
            forward does.
        layers: indices of layers, -1 for what goes into the first one; of the modules with `modules`. None for all.
        positions: in the text, padding included, from its end when negative; None for all of this forward's.
        modules: a glob or class of other modules than the layers.
        source: (T,) ids of another text without padding, for a patch.
        source_positions: in that text, for every one of `positions`; None where both texts are of one length.
        target: the token whose rise is looked for; None for the source's most likely one, or the present one.
        foil: the token that it is compared with; None for the most likely one now that is not the target.
    """

    kind: Kind = "patch"
    layers: Sequence[int] | None = None
    positions: Sequence[int] | None = None
    modules: str | None = None
    source: Tensor | None = None
    source_positions: Sequence[int] | None = None
    target: int | None = None
    foil: int | None = None


@dataclass(frozen=True)
class Saying:
    """What a run says of two tokens.

    Attributes:
        probability: of the target, by the model's own logits.
        difference: logit of the target less that of the foil.
    """

    probability: float
    difference: float


@dataclass(frozen=True)
class Sweep:
    """A table of what every change came to.

    Attributes:
        layers: by row; -1 for what goes into the first layer.
        paths: by row; empty for what goes into the first layer.
        positions: by column, in the text, padding included.
        base: without a change.
        source: of the other text, for a patch.
        probability: (rows, columns) of the target.
        difference: (rows, columns) logit of the target less that of the foil.
        kl: (rows, columns) divergence of the next token's distribution from that without a change, in nats.
    """

    layers: list[int]
    paths: list[str]
    positions: list[int]
    target: int
    foil: int
    base: Saying
    source: Saying | None
    probability: Tensor
    difference: Tensor
    kl: Tensor

    @property
    def recovered(self) -> Tensor | None:
        """(rows, columns) the share of the way from this difference to the source's; None without one."""
        whole = 0.0 if self.source is None else self.source.difference - self.base.difference
        return (self.difference - self.base.difference) / whole if whole else None


@dataclass(frozen=True)
class _Row:
    """A line of the table: what layer or module, and where its value is had."""

    layer: int
    path: str
    target: ModuleValue


class Sweeper:
    """Changes one sequence in one step of a call. On the model thread."""

    def __init__(
        self,
        generation: Generation,
        step: int,
        sequence: int,
        anatomy: Anatomy,
        question: Question,
        stage: Stage | None = None,
    ) -> None:
        self._generation, self._anatomy, self._stage = generation, anatomy, stage or Stage()
        self._step, self._sequence, self._question = step, sequence, question

    def sweep(self) -> Sweep:
        """Makes the change everywhere, one forward for each place.

        Raises:
            CannotSweep, CannotRead, NotEnoughMemory, Cancelled.
        """
        count = len(self._rows) * len(self._columns)
        if count > MAX_CELLS:
            many = f"{len(self._rows):,} layers × {len(self._columns):,} positions are {count:,} forwards"
            raise CannotSweep(f"{many}, more than {MAX_CELLS:,} at once: choose 'layers' or 'positions'")
        base = self._logits(self._run())
        values, source = self._replacements()
        target, foil = self._tokens(base, source)
        self._stage.progress.called(TITLE)
        cells = []
        for done, edit in enumerate(self._edits(values)):
            self._stage.check_cancelled()
            with self._stage.progress.part(done, count):
                logits = self._logits(self._run(edit))
            said = _saying(logits, target, foil)
            cells.append((said.probability, said.difference, distance(base, logits).kl))
        table = torch.tensor(cells, dtype=torch.float64).view(len(self._rows), len(self._columns), 3)
        return Sweep(
            [row.layer for row in self._rows],
            [row.path for row in self._rows],
            self._columns,
            target,
            foil,
            _saying(base, target, foil),
            None if source is None else _saying(source, target, foil),
            *table.unbind(-1),
        )

    def _run(self, *edits: Edit) -> StepRun:
        """The step with the edits of the run, and others."""
        edited = Edits((*self._generation.edits.all, *edits))
        run = run_step(self._generation, self._anatomy, edited, self._step, unread="it was not asked for")
        for edit in edits:
            if edit.id in run.problems:
                raise CannotSweep(run.problems[edit.id])
        return run

    def _logits(self, run: StepRun) -> Tensor:
        """(V,) of the sequence."""
        return run.logits[min(self._sequence, run.logits.shape[0] - 1)]

    @cached_property
    def _rows(self) -> list[_Row]:
        question = self._question
        if question.modules is not None:
            known = [
                _Row(i, path, ModuleValue(path)) for i, path in enumerate(modules_of(question.modules, self._anatomy))
            ]
        else:
            stack = self._anatomy.stacks[-1] if self._anatomy.stacks else []
            if not stack:
                raise CannotSweep("this model has no layers that repeat: name 'modules'")
            layers = [_Row(i, path, ModuleValue(path)) for i, path in enumerate(stack)]
            known = [_Row(-1, "", ModuleValue(stack[0], "input")), *layers]
        if question.layers is None:
            return known
        by_layer = {row.layer: row for row in known}
        if unknown := [layer for layer in question.layers if layer not in by_layer]:
            raise CannotSweep(f"no layer {unknown[0]}: there are {min(by_layer)} to {max(by_layer)}")
        return [by_layer[layer] for layer in question.layers]

    @cached_property
    def _columns(self) -> list[int]:
        """Positions in the text that are changed."""
        own = range(self._padding if self._step == 0 else self._end - 1, self._end)
        if self._question.positions is None:
            return list(own)
        found = [position if position >= 0 else self._end + position for position in self._question.positions]
        if wrong := [position for position in found if position not in own]:
            there = f"it has {own.start} to {own.stop - 1}"
            raise CannotSweep(f"no position {wrong[0]} in the forward of step {self._step}: {there}")
        return found

    @property
    def _end(self) -> int:
        """How long the text is in the step."""
        if self._generation.input_ids is None or not self._generation.is_own_loop:
            raise CannotSweep("the text of another decoding loop is not known")
        return self._generation.prompt_length + self._step

    @property
    def _padding(self) -> int:
        """How many positions before the sequence's text are padding."""
        return padding_before(self._generation, 0, self._sequence)

    # --- what takes the place of values

    def _replacements(self) -> tuple[dict[str, Tensor], Tensor | None]:
        """By path values (columns, D), of which a mean is made (T, D); and the logits (V,) of the source."""
        kind = self._question.kind
        if kind == "zero":
            return {}, None
        if kind == "mean":
            probe = _Values(self._rows, self._sequence)
            assert self._generation.tape is not None
            with torch.no_grad():
                self._generation.tape.replay(self._step, probe)
            first = self._padding if self._step == 0 else 0
            return {path: value[first:] for path, value in probe.found.items()}, None
        if self._question.source is None:
            raise CannotSweep("a patch needs the text that its values are from, as 'source'")
        at = self._source_positions(len(self._question.source))
        probe = _Values(self._rows, 0)
        logits = self._read(self._question.source, probe)
        return {path: value[at] for path, value in probe.found.items()}, logits

    def _source_positions(self, length: int) -> list[int]:
        """In the other text, of so many tokens, for every column."""
        named = self._question.source_positions
        if named is None:
            if length != (own := self._end - self._padding):
                instead = "name 'positions' here and the 'sourcePositions' that belong to them"
                raise CannotSweep(f"the other text has {length} tokens and this one {own}: {instead}")
            return [column - self._padding for column in self._columns]
        found = [position if position >= 0 else length + position for position in named]
        if wrong := [position for position in found if not 0 <= position < length]:
            raise CannotSweep(f"no position {wrong[0]} in the other text: it has 0 to {length - 1}")
        if len(found) != len(self._columns):
            raise CannotSweep(f"{len(self._columns)} positions are named here and {len(found)} in the other text")
        return found

    def _read(self, ids: Tensor, probe: _Values) -> Tensor:
        """(V,) logits at the end of another text (T,)."""
        generation = self._generation
        if generation.tape is None or generation.encoder is not None:
            raise CannotSweep("another text can be run only beside a decoder that generates token by token")
        with torch.no_grad():
            logits: Tensor = generation.tape.forward(ids[None].to(generation.device), self._sequence, probe).logits
        return logits[0, -1].float()

    def _edits(self, values: dict[str, Tensor]) -> Iterator[Edit]:
        """One for each cell, row by row."""
        kind = self._question.kind
        for row in self._rows:
            bank = values.get(row.path)
            if bank is None and kind != "zero":
                raise CannotSweep(f"'{row.path}' is not called in a forward over this text")
            for i, position in enumerate(self._columns):
                tensor = bank[i] if bank is not None and kind == "patch" else bank
                selection = Selection(sequences=(self._sequence,), positions=(position,))
                target = ModuleValue(row.target.path, row.target.value, None, selection)
                yield Edit(target, Change(kind, tensor=tensor), Steps(self._step, self._step))

    def _tokens(self, base: Tensor, source: Tensor | None) -> tuple[int, int]:
        """Target and foil, from logits (V,)."""
        target, foil = self._question.target, self._question.foil
        if target is None:
            target = int((base if source is None else source).argmax())
        if foil is None:
            foil = next(int(token) for token in base.topk(2).indices if int(token) != target)
        for token in (target, foil):
            require_token(token, len(base))
        return target, foil


def ids_of(text: str, vocabulary: Vocabulary) -> Tensor:
    """(T,) as a launch configuration would have it. Raises CannotSweep."""
    if vocabulary.tokenizer is None:
        raise CannotSweep("there is no tokenizer to read another text with")
    ids: Tensor = vocabulary.tokenizer(text, return_tensors="pt")["input_ids"][0]
    if not ids.numel():
        raise CannotSweep("the other text is empty")
    return ids


class _Values:
    """Holds what modules are given or return, of one sequence: (T, D) by the paths of rows."""

    def __init__(self, rows: Sequence[_Row], sequence: int) -> None:
        self.found: dict[str, Tensor] = {}
        self._inputs = {row.target.path: row.path for row in rows if row.target.value == "input"}
        self._outputs = {row.target.path: row.path for row in rows if row.target.value == "output"}
        self._sequence = sequence

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if path in self._inputs:
            self._keep(self._inputs[path], path, hidden_of(call.f_locals["args"], call.f_locals["kwargs"]))

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path in self._outputs:
            items = output if isinstance(output, list | tuple) else [output]
            self._keep(path, path, next((item for item in items if isinstance(item, Tensor)), None))

    def _keep(self, row: str, path: str, value: Tensor | None) -> None:
        if value is None or value.dim() != 3:
            raise CannotSweep(f"the value of '{path}' has no axes of sequence, position and width")
        self.found[row] = value[self._sequence].detach().clone()


def _saying(logits: Tensor, target: int, foil: int) -> Saying:
    return Saying(probability(logits, target), float(logits[target].double() - logits[foil].double()))
