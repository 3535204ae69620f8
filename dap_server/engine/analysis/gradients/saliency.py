"""How much every token of the text bears on what the model says next: gradient times input, at the embeddings.

The gradient leads to all tokens only where they are in one forward. Those of a prefill are: it runs again as it was.
In a later step the tokens before lie in the cache, and in an encoder–decoder behind the encoder's output, so that one
forward over the whole text is made; this is said to be recomputed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.analysis.gradients.backward import (
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

_Pair = tuple[Tensor, Tensor | None]
_Whole = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TokenSaliency:
    """Of one token.

    Attributes:
        position: in the sequence with its padding.
        id: None where it is not known: it is a position of the encoder's output then.
        score: sum over D of gradient times embedding: by how much the number would fall, to first order, if the
            embedding went to zero.
        norm: Euclidean, of the gradient.
        is_encoded: whether an encoder read it.
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
    path = _embedding(anatomy, "get_decoder")
    taps = [tap(anatomy, path, "output", every_call=True)]
    encoder = _embedding(anatomy, "get_encoder") if text.encodes else None
    if encoder not in (None, path):
        taps.append(tap(anatomy, encoder or "", "output", every_call=True))
    elif _has_encoder(anatomy.model) and not text.encodes and generation.is_own_loop:
        taps.append(tap(anatomy, "", "inputs"))
    found = differentiate(anatomy, text, objective, taps)
    nodes = [pair for name, pair in found.tensors.items() if name.startswith(f"{path} output#")]
    encoded: list[_Pair] = []
    if encoder == path:  # one module for both: the encoder comes first
        encoded, nodes = nodes[:1], nodes[1:]
    elif encoder is not None:
        encoded = [pair for name, pair in found.tensors.items() if name.startswith(f"{encoder} output#")]
    elif (output := found.tensors.get(" encoder_outputs.last_hidden_state")) is not None:
        encoded = [output]
    ids, positions = _read(generation, text, found)
    tokens = _tokens(_joined(nodes, text, len(ids)), ids, positions, is_encoded=False)
    if encoded:
        read, used = _encoded(found, text)
        tokens = _tokens(_joined(encoded, text, len(read)), read, used, is_encoded=True) + tokens
    return Saliency(found.value, found.token, text.is_recomputed, tokens)


def text_for(generation: Generation, step: int, sequence: int, objective: Objective) -> Text:
    """The step itself where all of its text is in one forward, else the text."""
    encodes = generation.encoder is not None and generation.encoder.ids is not None and generation.is_own_loop
    is_step = not generation.is_own_loop or (step == 0 and objective.kind != "loss" and not encodes)
    return step_of(generation, step, sequence) if is_step else text_of(generation, step, sequence, encodes)


def _has_encoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def _embedding(anatomy: Anatomy, part: str) -> str:
    """Path of the module that turns the ids of the text into vectors; `part` gets the encoder or decoder, if any."""
    model: Any = anatomy.model
    try:
        if _has_encoder(model):
            model = getattr(model, part)()
        path = anatomy.path_of(model.get_input_embeddings())
    except (AttributeError, NotImplementedError):
        path = None
    if path is None:
        raise GradientError(f"{type(anatomy.model).__name__} does not tell which module embeds its tokens")
    return path


def _joined(nodes: list[_Pair], text: Text, count: int) -> _Whole:
    """(T, D) embeddings of one sequence and their gradients, from (B, T', D) of every call; `count`: T, if known."""
    if not nodes:
        raise GradientError("no token is embedded in this step")
    parts = [(node, torch.zeros_like(node) if gradient is None else gradient) for node, gradient in nodes]
    if any(node.dim() != 3 or (text.is_recomputed and node.shape[0] != 1) for node, _ in parts):
        raise GradientError("the embeddings of this model have no axes of batch, position and width")
    whole = torch.cat([n[text.batch] for n, _ in parts]), torch.cat([g[text.batch] for _, g in parts])
    if count and whole[0].shape[0] != count:
        raise GradientError(f"this model embeds {whole[0].shape[0]} positions where the text has {count} tokens")
    return whole


def _encoded(found: Gradients, text: Text) -> tuple[list[int], list[int] | None]:
    """The ids that the encoder read, none where they are not known, and which of them are no padding."""
    ids, mask = found.given.get("input_ids"), found.given.get("attention_mask")
    used = mask[text.batch].nonzero()[:, 0].tolist() if isinstance(mask, Tensor) and mask.dim() == 2 else None
    return (ids[text.batch].tolist() if text.encodes and isinstance(ids, Tensor) else []), used


def _read(generation: Generation, text: Text, found: Gradients) -> tuple[list[int], list[int] | None]:
    """The ids that the forward read, and their positions in the sequence; None for all."""
    if text.ids is not None:
        return text.ids[0].tolist(), positions_of(generation, text.step, text.sequence).tolist()
    if generation.is_own_loop and generation.input_ids is not None:
        ids = generation.input_ids[text.sequence, : generation.prompt_length].tolist()
        return ids, positions_of(generation, 0, text.sequence).tolist()
    given = found.given.get("input_ids")
    return (given[text.batch].tolist() if isinstance(given, Tensor) and given.dim() == 2 else []), None


def _tokens(joined: _Whole, ids: list[int], positions: list[int] | None, is_encoded: bool) -> list[TokenSaliency]:
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
