"""The logit lens: what the model would say if it stopped after a layer (nostalgebraist, "interpreting GPT", 2020).

The model itself makes the logits, with its own final norm, head, scaling and capping, whatever they are. Where a step
chooses its token, they are exact: those of the last layer are bit for bit the step's. Other positions of a decoding
come from one forward over the whole text, which rounds differently than step by step, and are marked as recomputed; or,
if that is asked for, from every step run again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from dap_server.engine.analysis.lens.forwards import Text, capture, speak
from dap_server.engine.analysis.lens.residuals import CannotRead, Stream, joined, measured
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import memory
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stage import Stage

LOGITS_BYTES = 128 * 1024 * 1024
"""What the logits that are worked on at a time, and their probabilities, may take."""

CLOSE = 1e-2
"""Logits that differ by less, as a share of the largest, may differ by rounding only, in half precision too."""

BYTES_PER_LOGIT = 32
"""As the model gives it, in float32, and its probability in float64, twice."""


class Candidate(NamedTuple):
    """A token, or a label, that could come next. `rank` counts from 1."""

    id: int
    rank: int
    probability: float
    logit: float


@dataclass(frozen=True)
class Said:
    """What one place of the residual stream would say, and the stream there.

    Attributes:
        top: the most likely ones.
        watched: those that were asked for, in that order.
        norm: Euclidean, of the residual stream.
        update: norm of what the layer added.
        cosine: with the residual stream after the last layer.
    """

    top: list[Candidate]
    watched: list[Candidate]
    norm: float
    update: float
    cosine: float


@dataclass(frozen=True)
class Column:
    """One position of the text.

    Attributes:
        position: in the sequence, padding included; None when all of it is said one thing about, by a classifier.
        is_recomputed: whether it is of a forward over the whole text, not of the steps of the run.
        is_padding: nothing is said there.
        said: by place.
    """

    position: int | None
    is_recomputed: bool = False
    is_padding: bool = False
    said: tuple[Said, ...] = ()


@dataclass(frozen=True)
class Lens:
    """A table of what is said: a column for every position, with a line for every place.

    Attributes:
        layers: their indices; -1 for what goes into the first one.
        paths: of these layers; empty for what goes into the first one.
        width: V, how many things can be said.
    """

    layers: list[int]
    paths: list[str]
    columns: list[Column]
    width: int


@dataclass(frozen=True)
class Question:
    """What to read.

    Attributes:
        positions: in the sequence, from its end when negative; empty for where the step chooses its token.
        layers: indices; -1 is what goes into the first one. None for all.
        top: how many of the most likely ones.
        watch: ids whose rank and probability are told; None for what the step will most likely say.
        exact: run every step again, rather than one forward over all of them.
    """

    positions: Sequence[int] = ()
    layers: Sequence[int] | None = None
    top: int = 5
    watch: Sequence[int] | None = None
    exact: bool = False


class LensReader:
    """Reads one sequence at one step of a call. On the model thread."""

    def __init__(
        self, generation: Generation, step: int, sequence: int, anatomy: Anatomy, stage: Stage | None = None
    ) -> None:
        """`stage`: where it can be cancelled between its pieces, and tells how far it is."""
        assert generation.tape is not None
        self._generation, self._tape, self._anatomy, self._stage = (
            generation,
            generation.tape,
            anatomy,
            stage or Stage(),
        )
        self._step, self._sequence = step, sequence

    @cached_property
    def _captured(self) -> Stream:
        """Where the step chooses its token."""
        return capture(self._tape, self._step, self._anatomy)

    @cached_property
    def stream(self) -> Stream:
        """The same, seen to make the logits of the step; everywhere, for a model that cannot go on from there alone."""
        stream = self._captured
        size = stream.size
        if stream.is_pooled or self._difference(stream) != 0.0:
            stream = capture(self._tape, self._step, self._anatomy, None)
            if self._difference(stream) > CLOSE * size:
                raise CannotRead("the logits of this model are not made of what its last layer leaves alone")
        return stream

    def _difference(self, stream: Stream) -> float:
        """Between the logits of the step and those that the model makes of the last place, once more."""
        heard: list[Tensor] = []
        try:
            speak(self._tape, self._step, self._anatomy, stream, iter(stream.hidden[-1:]), heard.append)
        except CannotRead:
            if stream.is_whole:
                raise
            return math.inf
        again, given = heard[0], stream.logits
        assert given is not None
        again = again if stream.is_pooled else again[:, -1]
        different = (again.detach().double() - given.detach().double()).abs()[again != given]
        return float(different.nan_to_num(nan=0.0).max()) if different.numel() else 0.0

    @property
    def width(self) -> int:
        """V, how many things can be said."""
        return self._captured.width

    def locate(self, asked: int | None) -> tuple[int, int, int]:
        """The step that chose what follows a position, where it is in the forward of that step, and the position.

        Raises CannotRead: it is padding, or no position of this step or an earlier one.
        """
        stream = self._captured
        here = self._here(stream)
        position = here if asked is None else self._position(asked, here)
        if self._is_padding(position):
            raise CannotRead(f"position {position} is padding")
        first = here - stream.length + 1
        if position >= first or not self._generation.is_own_loop:
            return self._step, position - first, position
        step = max(position - self._generation.prompt_length + 1, 0)
        return step, position - self._generation.prompt_length if step == 0 else -1, position

    def read(self, question: Question) -> Lens:
        """Raises CannotRead, NotEnoughMemory, Cancelled."""
        stream = self.stream
        chosen = self._chosen(stream, question)
        here = self._here(stream)
        if question.watch is None:
            question = replace(question, watch=[self._answer(stream)])
        wanted = [] if stream.is_pooled else [self._position(p, here) for p in question.positions] or [here]
        columns = {p: Column(p, is_padding=True) for p in wanted if self._is_padding(p)}
        if stream.is_pooled or here in wanted:
            said = self._said(stream, chosen, question)
            columns[here] = Column(None if stream.is_pooled else here, said=tuple(said[-1]))
        beside = [p for p in dict.fromkeys(wanted) if p not in columns]
        columns |= {column.position or 0: column for column in self._beside(stream, beside, here, chosen, question)}
        paths = [stream.paths[k] for k in chosen]
        return Lens([k - 1 for k in chosen], paths, [columns[p] for p in wanted or [here]], stream.width)

    def _answer(self, stream: Stream) -> int:
        """What the step will most likely say."""
        assert stream.logits is not None
        return int(stream.logits[min(self._sequence, stream.sequences - 1)].argmax())

    def _here(self, stream: Stream) -> int:
        """Where in the sequence the last position of the step's forward stands."""
        generation = self._generation
        return generation.prompt_length + self._step - 1 if generation.is_own_loop else stream.length - 1

    def _position(self, asked: int, here: int) -> int:
        position = asked if asked >= 0 else here + 1 + asked
        if not 0 <= position <= here:
            raise CannotRead(f"no position {asked} at this step: there are 0 to {here}")
        return position

    def _chosen(self, stream: Stream, question: Question) -> list[int]:
        """Which places are asked for."""
        count = len(stream.places)
        asked = range(-1, count) if question.layers is None else question.layers
        if unknown := [layer for layer in asked if not -1 <= layer < count]:
            raise CannotRead(f"no layer {unknown[0]}: there are 0 to {count - 1}, and -1 for what goes into them")
        return [layer + 1 for layer in asked]

    def _is_padding(self, position: int) -> bool:
        mask = self._generation.attention_mask
        if mask is None or self._is_decoder or position >= mask.shape[1]:
            return False
        return not bool(mask[self._sequence, position])

    @property
    def _is_decoder(self) -> bool:
        """Whether the mask is of another text than the one that grows."""
        return bool(getattr(getattr(self._anatomy.model, "config", None), "is_encoder_decoder", False))

    # --- positions beside the one that the step chooses from

    def _beside(
        self, stream: Stream, positions: list[int], here: int, chosen: list[int], question: Question
    ) -> Iterator[Column]:
        if not positions:
            return
        first = here - stream.length + 1  # of the step's own forward, whose positions are as exact as the last one
        own = [p for p in positions if p >= first]
        others = [p for p in positions if p < first]
        if own:
            found = capture(self._tape, self._step, self._anatomy, [p - first for p in own])
            yield from self._columns(found.of_sequence(self._sequence), own, chosen, question, is_recomputed=False)
        stepped = [p for p in others if p >= self._first_position()] if question.exact and others else []
        if stepped:
            yield from self._columns(self._step_by_step(stepped), stepped, chosen, question, is_recomputed=False)
        if at_once := [p for p in others if p not in stepped]:
            yield from self._columns(self._at_once(at_once), at_once, chosen, question, is_recomputed=True)

    def _first_position(self) -> int:
        """Of those that the last forward of the prefill was over: of a prefill in pieces it is the last piece."""
        self._require_own_loop()
        return self._generation.prompt_length - capture(self._tape, 0, self._anatomy).length

    def _require_own_loop(self) -> None:
        if self._generation.input_ids is None or not self._generation.is_own_loop:
            raise CannotRead("this decoding method does not tell its text: only positions of this forward can be read")

    def _at_once(self, positions: list[int]) -> Stream:
        """From one forward over the whole text."""
        self._require_own_loop()
        generation = self._generation
        assert generation.input_ids is not None
        ids = generation.input_ids[:, : generation.prompt_length + self._step]
        mask = torch.ones_like(ids)
        if generation.attention_mask is not None and not self._is_decoder:
            known = generation.attention_mask[:, : ids.shape[1]]
            mask[:, : known.shape[1]] = known
        found = capture(self._tape, 0, self._anatomy, positions, Text(ids, mask))
        return found.of_sequence(self._sequence)

    def _step_by_step(self, positions: list[int]) -> Stream:
        """From the steps that they were chosen in."""
        first = self._generation.prompt_length - 1
        parts: list[Stream] = []
        steps = sorted({max(p - first, 0) for p in positions})
        order: list[int] = []
        for done, step in enumerate(steps):
            with self._stage.progress.part(done, len(steps) + 1):
                self._stage.check_cancelled()
                mine = [p for p in positions if max(p - first, 0) == step]
                found = capture(self._tape, step, self._anatomy, [p - first - 1 if step == 0 else -1 for p in mine])
                parts.append(found.of_sequence(self._sequence))
                order += mine
        return joined(parts, [order.index(p) for p in positions])

    def _columns(
        self, stream: Stream, positions: list[int], chosen: list[int], question: Question, is_recomputed: bool
    ) -> Iterator[Column]:
        size = max(1, LOGITS_BYTES // (BYTES_PER_LOGIT * stream.width))
        for start in range(0, len(positions), size):
            piece = stream.at(list(range(start, min(start + size, len(positions)))))
            said = self._said(piece, chosen, question)
            for position, column in zip(positions[start : start + size], said, strict=True):
                yield Column(position, is_recomputed, said=tuple(column))

    # --- what is said

    def _said(self, stream: Stream, chosen: list[int], question: Question) -> list[list[Said]]:
        """By position, then by place."""
        states = [stream.hidden[k] for k in chosen]
        heard: list[list[tuple[list[Candidate], list[Candidate]]]] = []
        count = states[0].shape[stream.axes.sequence]
        vocabulary = stream.width
        rows = count * (1 if stream.is_whole else states[0].shape[stream.axes.position])
        what = f"the logits of {rows} positions"
        memory.require(rows * vocabulary * BYTES_PER_LOGIT, stream.before.device, what, "ask for fewer positions")

        def hear(logits: Tensor) -> None:
            self._stage.check_cancelled()
            sequence = min(self._sequence, logits.shape[0] - 1)
            mine = logits[sequence] if logits.dim() == 3 else logits[sequence][None]  # (T', V)
            heard.append(candidates(mine, question))
            self._stage.progress.reached(len(heard), len(states))

        speak(self._tape, self._step, self._anatomy, stream, iter(states), hear)
        sizes = measured(stream, min(self._sequence, count - 1))
        return [
            [
                Said(*at_place[i], *(float(kind[k, i]) for kind in sizes))
                for k, at_place in zip(chosen, heard, strict=True)
            ]
            for i in range(-min(len(heard[0]), sizes[0].shape[1]), 0)
        ]


def candidates(logits: Tensor, question: Question) -> list[tuple[list[Candidate], list[Candidate]]]:
    """Of each row of logits (T', V): the most likely ones, and those that are watched."""
    logits = logits.float()
    probs = torch.softmax(logits.double(), dim=-1)  # (T', V)
    watched_ids = list(question.watch or ())
    best = probs.topk(min(question.top, probs.shape[-1]), dim=-1)
    watch = torch.tensor(watched_ids, dtype=torch.long, device=logits.device)
    ranks = [(probs > probs[:, i, None]).sum(-1) + 1 for i in watched_ids]  # each (T',)
    found = []
    for i in range(logits.shape[0]):
        top = _listed(best.indices[i], range(1, best.indices.shape[1] + 1), best.values[i], logits[i])
        found.append((top, _listed(watch, [int(rank[i]) for rank in ranks], probs[i, watch], logits[i])))
    return found


def _listed(ids: Tensor, ranks: Sequence[int], probs: Tensor, logits: Tensor) -> list[Candidate]:
    """`ids`, `probs`: (N,); `logits`: (V,)."""
    columns = zip(ids.tolist(), ranks, probs.tolist(), logits[ids].tolist(), strict=True)
    return [Candidate(*column) for column in columns]
