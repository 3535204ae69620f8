"""The text of one sequence as tokens: the prompt, what was chosen, and with which probability."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stage import Stage
from dap_server.engine.execution.stepping import Stop
from dap_server.engine.inspection.selection import PROBABILITIES, Candidate
from dap_server.engine.inspection.selection import Stage as Scores


@dataclass(frozen=True)
class TextToken:
    """One position.

    Attributes:
        position: padding included.
        step: that chose the token, None in the prompt.
        probability: with which it was chosen, after all logits processors.
        entropy: of the choice, in nats; None where nobody asked for it.
        alternatives: the most likely tokens of the choice.
    """

    position: int
    id: int
    step: int | None = None
    probability: float | None = None
    is_padding: bool = False
    entropy: float | None = None
    alternatives: list[Candidate] | None = None


def length_of(generation: Generation) -> int:
    """T, of the prompt and of all tokens that were chosen, those behind the present place too."""
    if generation.input_ids is None:
        return 0
    return max(generation.input_ids.shape[1], generation.prompt_length + len(generation.records))


def text_tokens(generation: Generation, sequence: int, start: int, end: int) -> list[TextToken]:
    """Positions `start` … `end - 1`. Records that lie ahead, after a way back, belong to the text."""
    ids, mask, first = generation.input_ids, generation.attention_mask, generation.prompt_length
    if ids is None:
        return []
    prompt = ids[sequence, :first][start:end].tolist()
    tokens = [
        TextToken(p, id, is_padding=mask is not None and p < mask.shape[1] and not int(mask[sequence, p]))
        for p, id in enumerate(prompt, start=start)
    ]
    begin, behind = max(start - first, 0), max(end - first, 0)
    if records := generation.records[begin:behind]:
        chosen = torch.stack([record.tokens[sequence] for record in records]).tolist()
        probabilities = torch.stack([record.probability[sequence] for record in records]).tolist()
        for step, (id, probability) in enumerate(zip(chosen, probabilities, strict=True), start=begin):
            tokens.append(TextToken(first + step, id, step, probability))
    return tokens


@torch.no_grad()
def with_choices(tokens: list[TextToken], stop: Stop, sequence: int, top: int, stage: Stage) -> list[TextToken]:
    """The same with entropies and alternatives of the choices up to the stop, whose steps run again as far as needed.

    Raises:
        Cancelled: the client no longer wants it.
    """
    generation, tape = stop.generation, stop.generation.tape
    if tape is None:
        return tokens
    steps = [t.step for t in tokens if t.step is not None and t.step <= stop.place.step]
    steps = [step for step in steps if top or generation.records[step].entropy is None]
    alternatives: dict[int, list[Candidate]] = {}
    for done, step in enumerate(steps):
        stage.check_cancelled()
        with stage.progress.part(done, len(steps)):
            selection = tape.replay(step)
        if selection is not None:
            generation.records[step].entropy = _entropy(selection.scores)
            alternatives[step] = Scores(PROBABILITIES, 0, None, selection.scores[sequence], None).top(top)
    return [_completed(t, generation, sequence, alternatives if top else {}) for t in tokens]


def _completed(
    token: TextToken, generation: Generation, sequence: int, alternatives: dict[int, list[Candidate]]
) -> TextToken:
    if token.step is None:
        return token
    entropy = generation.records[token.step].entropy
    known = None if entropy is None else float(entropy[sequence])
    return replace(token, entropy=known, alternatives=alternatives.get(token.step))


def _entropy(scores: Tensor) -> Tensor:
    """(B,) in nats, of softmax over scores (B, V); in float64, since close to certainty it is a small difference."""
    probs = torch.softmax(scores.double(), dim=-1)
    entropy: Tensor = torch.special.entr(probs).sum(dim=-1)
    return entropy
