"""What a model that does not generate says: what it would put at each mask, or how it labels the text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.anatomy.tokens import Vocabulary

TOP = 5


@dataclass(frozen=True)
class Choice:
    """One possible answer.

    Attributes:
        id: of the token or label.
        value: its probability; of a regression, the number itself.
    """

    id: int
    text: str
    value: float


@dataclass(frozen=True)
class Answer:
    """What the model says to one question about a sequence.

    Attributes:
        name: `mask 1`, `label`, or `value` for a regression.
        position: of the mask in the text.
        choices: the most likely first, at most `TOP`.
    """

    name: str
    choices: list[Choice]
    position: int | None = None

    def __str__(self) -> str:
        at = "" if self.position is None else f" at position {self.position}"
        if self.name == "value":
            return f"value: {', '.join(f'{choice.value:.6g}' for choice in self.choices)}"
        return f"{self.name}{at}: {', '.join(f'{choice.text} {choice.value:.2%}' for choice in self.choices)}"


@torch.no_grad()
def answers(logits: Tensor, ids: Tensor, config: Any, vocabulary: Vocabulary) -> list[list[Answer]]:
    """The answers about each sequence, in float64.

    Args:
        logits: (B, T, V) of a masked language model, (B, labels) of a classifier.
        ids: (B, T) of the prompts.
    """
    if logits.dim() == 2:
        return [[_label(row, config)] for row in logits.double()]
    mask = vocabulary.mask_token_id
    return [list(_masks(row, text.tolist(), mask, vocabulary)) for row, text in zip(logits, ids, strict=True)]


def _label(logits: Tensor, config: Any) -> Answer:
    """Of logits (labels,), by the kind of problem as transformers' losses understand it."""
    problem = config.problem_type or ("regression" if logits.numel() == 1 else "single_label_classification")
    names: dict[int, str] = config.id2label or {}
    if problem == "regression":
        numbers = [Choice(i, names.get(i, f"value {i}"), float(value)) for i, value in enumerate(logits)]
        return Answer("value", numbers)
    several = problem == "multi_label_classification"
    probs = torch.sigmoid(logits) if several else torch.softmax(logits, dim=-1)
    best, ids = probs.topk(min(TOP, probs.numel()))
    return Answer(
        "label", [Choice(i, names.get(i, str(i)), p) for i, p in zip(ids.tolist(), best.tolist(), strict=True)]
    )


def _masks(logits: Tensor, ids: list[int], mask: int | None, vocabulary: Vocabulary) -> Iterator[Answer]:
    """Of logits (T, V), for every mask among the ids."""
    positions = [i for i, token in enumerate(ids) if token == mask and i < logits.shape[0]]
    for number, position in enumerate(positions, start=1):
        probs = torch.softmax(logits[position].double(), dim=-1)  # (V,)
        best, tokens = probs.topk(min(TOP, probs.numel()))
        choices = [
            Choice(token, vocabulary.quoted(token), p) for token, p in zip(tokens.tolist(), best.tolist(), strict=True)
        ]
        yield Answer(f"mask {number}", choices, position)
