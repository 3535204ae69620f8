"""How much every token of the text bears on what the model says next: gradient times input, at the embeddings.

The gradient leads to all tokens only where they are in one forward. Those of a prefill are: it runs again as it was.
In a later step the tokens before lie in the cache, so that one forward over the whole text is made; this is said to be
recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.analysis.gradients import (
    GradientError,
    Gradients,
    Objective,
    Text,
    differentiate,
    positions_of,
    step_of,
    tap,
    text_of,
)
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.generation import Generation


@dataclass(frozen=True)
class TokenSaliency:
    """Of one token.

    Attributes:
        position: in the sequence with its padding; of the encoder's output where `is_encoded`.
        id: None where it is not known.
        score: sum over D of gradient times embedding: by how much the number would fall, to first order, if the
            embedding went to zero.
        norm: Euclidean, of the gradient.
    """

    position: int
    id: int | None
    score: float
    norm: float
    is_encoded: bool = False


@dataclass(frozen=True)
class Saliency:
    """Of one number.

    Attributes:
        value, token: of the number, as in `Gradients`.
        is_recomputed: by one forward over the text, rather than by the step as it was.
    """

    value: float
    token: int | None
    is_recomputed: bool
    tokens: list[TokenSaliency]


def saliency(anatomy: Anatomy, generation: Generation, step: int, sequence: int, objective: Objective) -> Saliency:
    """Of the tokens before a step's token, or of the text itself for the loss.

    Raises:
        GradientError: there is no gradient, with the reason.
    """
    text = text_for(generation, step, sequence, objective)
    path = _embedding(anatomy)
    is_encoder_decoder = bool(getattr(anatomy.model.config, "is_encoder_decoder", False))
    taps = [tap(anatomy, path, "output", every_call=True)]
    if is_encoder_decoder and generation.is_own_loop:
        taps.append(tap(anatomy, "", "inputs"))
    found = differentiate(anatomy, text, objective, taps)
    nodes = {name.removeprefix(f"{path} "): pair for name, pair in found.tensors.items() if "output#" in name}
    ids, positions = _read(generation, text, found)
    tokens = _tokens(_joined(list(nodes.values()), text.batch, text.is_recomputed), ids, positions, is_encoded=False)
    encoded = found.tensors.get(" encoder_outputs.last_hidden_state")
    if encoded is not None:
        tokens = _tokens(_joined([encoded], text.batch, text.is_recomputed), [], None, is_encoded=True) + tokens
    return Saliency(found.value, found.token, text.is_recomputed, tokens)


def text_for(generation: Generation, step: int, sequence: int, objective: Objective) -> Text:
    """The step itself where all of its text is in one forward, else the text."""
    if not generation.is_own_loop or (step == 0 and objective.kind != "loss"):
        return step_of(generation, step, sequence)
    return text_of(generation, step, sequence)


def _embedding(anatomy: Anatomy) -> str:
    """Path of the module that turns the ids of the text into vectors."""
    model: Any = anatomy.model
    try:
        if getattr(model.config, "is_encoder_decoder", False):
            model = model.get_decoder()
        path = anatomy.path_of(model.get_input_embeddings())
    except (AttributeError, NotImplementedError):
        path = None
    if path is None:
        raise GradientError(f"{type(anatomy.model).__name__} does not tell which module embeds its tokens")
    return path


def _joined(nodes: list[tuple[Tensor, Tensor | None]], row: int, is_alone: bool) -> tuple[Tensor, Tensor]:
    """(T, D) embeddings of one sequence and their gradients, from (B, T', D) of every call."""
    if not nodes:
        raise GradientError("no token is embedded in this step")
    row = 0 if is_alone else row
    parts = [(node, torch.zeros_like(node) if gradient is None else gradient) for node, gradient in nodes]
    if any(node.dim() != 3 for node, _ in parts):
        raise GradientError("the embeddings of this model have no axes of batch, position and width")
    return torch.cat([n[row] for n, _ in parts]), torch.cat([g[row] for _, g in parts])


def _read(generation: Generation, text: Text, found: Gradients) -> tuple[list[int], list[int] | None]:
    """The ids that the forward read, and their positions in the sequence; None for all."""
    if text.ids is not None:
        return text.ids[0].tolist(), positions_of(generation, text.step, text.sequence).tolist()
    if generation.is_own_loop and generation.input_ids is not None:
        ids = generation.input_ids[text.sequence, : generation.prompt_length].tolist()
        return ids, positions_of(generation, 0, text.sequence).tolist()
    given = found.given.get("input_ids")
    return (given[text.batch].tolist() if isinstance(given, Tensor) and given.dim() == 2 else []), None


def _tokens(
    joined: tuple[Tensor, Tensor], ids: list[int], positions: list[int] | None, is_encoded: bool
) -> list[TokenSaliency]:
    """Of embeddings (T, D) and gradients (T, D). `positions`: those that are no padding."""
    embeddings, gradients = (part.double() if part.device.type != "mps" else part.float() for part in joined)
    scores = (embeddings * gradients).sum(-1).tolist()
    norms = gradients.norm(dim=-1).tolist()
    if positions is not None and len(positions) == len(scores):  # a text without its padding
        rows = list(zip(positions, range(len(scores)), strict=True))
    else:
        rows = [(i, i) for i in (range(len(scores)) if positions is None else positions) if i < len(scores)]
    known = dict(enumerate(ids))
    return [TokenSaliency(at, known.get(i), scores[i], norms[i], is_encoded) for at, i in rows]
