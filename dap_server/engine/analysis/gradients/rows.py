"""The scopes Gradients and Saliency of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

from torch import Tensor

from dap_server.engine.analysis.answers import Answers, chosen_token
from dap_server.engine.analysis.gradients.backward import (
    GradientError,
    Gradients,
    Objective,
    Text,
    differentiate,
    norm,
    step_of,
    tap,
    text_of,
)
from dap_server.engine.analysis.gradients.saliency import Saliency, TokenSaliency, saliency
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.differentiation import Part
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows, describe

RECOMPUTED = "one forward over the whole text: recomputed"

PARTS: tuple[Part, Part] = ("inputs", "output")


def gradients_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For the frames of modules and steps; found by running the step again with gradients, when it is opened."""
    if frame.stop.generation.tape is None:
        return None
    if frame.kind in ("module", "past layer"):
        return Scope("Gradients", Rows(partial(_module_rows, frame, anatomy, vocabulary)), expensive=True)
    if frame.is_step and anatomy.layer_paths:
        return Scope("Gradients", Rows(partial(_step_rows, frame, anatomy, vocabulary)), expensive=True)
    return None


def saliency_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For the frames of steps, and of the whole model where another loop than ours calls it."""
    generation = frame.stop.generation
    is_whole = frame.kind == "module" and frame.path == "" and not generation.is_own_loop
    if generation.tape is None or not (is_whole or frame.is_step):
        return None
    return Scope("Saliency", SaliencyRows(frame, anatomy, vocabulary), expensive=True)


def objective_of(frame: Frame, vocabulary: Vocabulary) -> Objective:
    """The logit of the token that the frame's step chose, or will choose; of the likeliest while that is not known.

    Of a model that fills in masks it is that at its first mask; of a classifier that of its label.
    """
    generation = frame.stop.generation
    if generation.is_forward:
        ids, mask = generation.input_ids, vocabulary.mask_token_id
        masks = [] if ids is None or mask is None else (ids[frame.sequence] == mask).nonzero()[:, 0].tolist()
        return Objective(position=masks[0] if masks else -1)
    return Objective(token=chosen_token(frame))


def gradients_of(
    frame: Frame, anatomy: Anatomy, objective: Objective, path: str, parts: Sequence[Part], parameters: bool = False
) -> tuple[Gradients, Text]:
    """With respect to a module's call: the frame's own, or the last one of the step, or before here; and how."""
    text = _text(frame, objective, path)
    suspended = frame.activation if path == frame.path else None
    if frame.kind == "past layer" and frame.step == frame.stop.place.step and frame.stop.activations:
        suspended = frame.stop.activations[0]
    wanted = list(anatomy.modules[path].parameters()) if parameters else []
    taps = [tap(anatomy, path, *parts)] if parts else []
    found = differentiate(anatomy, text, objective, taps, wanted, None if text.is_recomputed else suspended)
    return found, text


def _text(frame: Frame, objective: Objective, path: str) -> Text:
    """The frame's step. Of the loss the text, which one step does not tell about; of an encoder too, which has run."""
    generation = frame.stop.generation
    encoder = generation.encoder if generation.is_own_loop else None
    encodes = encoder is not None and encoder.ids is not None and encoder.holds(path)
    if encodes or (objective.kind == "loss" and generation.is_own_loop):
        return text_of(generation, frame.step, frame.sequence, encodes)
    return step_of(generation, frame.step, frame.sequence)


def said(objective: Objective, found: Gradients | Saliency, anatomy: Anatomy, vocabulary: Vocabulary) -> str:
    """`logit 12.34 of ' Paris' (id 123)`."""
    if found.token is None:
        return f"loss {found.value:.6g} nats a token"
    likeliest = ", the likeliest" if objective.token is None else ""
    text = Answers(anatomy, vocabulary).quoted(found.token)
    at = f" at position {objective.position}" if objective.position >= 0 else ""
    return f"{objective.kind} {found.value:.6g} of {text}{at} (id {found.token}{likeliest})"


def _module_rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    objective, path = objective_of(frame, vocabulary), frame.path or ""
    parameters = _parameter_row(frame, anatomy, objective)
    try:
        found, text = gradients_of(frame, anatomy, objective, path, PARTS)
    except GradientError as error:
        return [Row("of", "nothing with respect to inputs and output"), Row("reason", str(error)), parameters]
    by = [Row("by", RECOMPUTED)] if text.is_recomputed else []
    return [Row("of", said(objective, found, anatomy, vocabulary)), *by, *_rows(found, f"{path} "), parameters]


def _parameter_row(frame: Frame, anatomy: Anatomy, objective: Objective) -> Row:
    """Its children run the step once more: what leads to them may take as much memory as the weights."""
    path = frame.path or ""
    held = list(anatomy.modules[path].parameters())
    if not held:
        return Row("parameters", "none")

    def children() -> list[Row]:
        try:
            found, _ = gradients_of(frame, anatomy, objective, path, (), parameters=True)
        except GradientError as error:
            return [Row("reason", str(error))]
        return _rows(found, f"{path}." if path else "")

    count = sum(p.numel() for p in held)
    return Row("parameters", f"{len(held)} tensors, {count:,} numbers", children=Rows(children))


def _step_rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    """With respect to the output of every layer."""
    objective = objective_of(frame, vocabulary)
    text = step_of(frame.stop.generation, frame.step, frame.sequence)
    taps = [tap(anatomy, path, "output") for path in anatomy.layer_paths]
    try:
        found = differentiate(anatomy, text, objective, taps)
    except GradientError as error:
        return [Row("of", "nothing"), Row("reason", str(error))]
    return [Row("of", said(objective, found, anatomy, vocabulary)), *_rows(found, "")]


def _rows(found: Gradients, prefix: str) -> list[Row]:
    """One per tensor, under its name without what all of them begin with."""
    return [gradient_row(name.removeprefix(prefix), gradient) for name, (_, gradient) in found.tensors.items()]


def gradient_row(name: str, gradient: Tensor | None) -> Row:
    if gradient is None:
        return Row(name, "none: it does not bear on this", "Tensor")
    row = describe(name, gradient, meaning=name.rpartition(" ")[2])
    row.value = f"norm {norm(gradient):.6g} · {row.value}"
    return row


class SaliencyRows:
    """What it is of, and a row per token; worked out when the first of them is asked for."""

    named = 2

    def __init__(self, frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        self._frame, self._anatomy, self._vocabulary = frame, anatomy, vocabulary
        generation = frame.stop.generation
        ids = generation.input_ids
        width = 0 if ids is None or not generation.is_own_loop else generation.prompt_length + frame.step
        self.indexed = width

    def named_rows(self) -> list[Row]:
        if isinstance(self._found, str):
            return [Row("of", "nothing"), Row("reason", self._found)]
        found, objective = self._found
        how = RECOMPUTED if found.is_recomputed else "the step, run again"
        of = Row("of", said(objective, found, self._anatomy, self._vocabulary))
        rows = [self._row(token) for token in found.tokens if token.is_encoded or not self.indexed]
        return [of, Row("by", f"gradient × input · {how}"), *rows]

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        if isinstance(self._found, str):
            return []
        found, _ = self._found
        by_position = {token.position: token for token in found.tokens if not token.is_encoded}
        return [
            self._row(by_position[i]) if i in by_position else Row(f"[{i}]", "padding", "token")
            for i in range(start, min(start + count, self.indexed))
        ]

    @cached_property
    def _found(self) -> tuple[Saliency, Objective] | str:
        """Or why there is none: every page of rows asks."""
        frame, objective = self._frame, objective_of(self._frame, self._vocabulary)
        try:
            return saliency(self._anatomy, frame.stop.generation, frame.step, frame.sequence, objective), objective
        except GradientError as error:
            return str(error)

    def _row(self, token: TokenSaliency) -> Row:
        text = "" if token.id is None else f"{self._vocabulary.quoted(token.id)}  "
        name = f"encoder[{token.position}]" if token.is_encoded else f"[{token.position}]"
        return Row(name, f"{text}{token.score:+.4g}  norm {token.norm:.4g}", "token")
