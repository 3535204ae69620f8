"""What is odd about the text that is being made: it goes round in circles, or any token would do."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.execution.generation import Selection

LONGEST = 128
"""Tokens of the longest cycle that is looked for."""

WINDOW = 512
"""How many tokens of the end of the text are looked at."""


class Cycle(NamedTuple):
    """() each: the text ends with `repeats` times the same `period` tokens; 1 time where it does not go in circles."""

    period: Tensor
    repeats: Tensor


def cycle(passing: Passing) -> Cycle:
    """The cycle at the end of what the model has said, which covers most of it; the shortest of those.

    Raises NotKnown: no token is chosen here.
    """
    candidate, key = passing.candidate, ("cycle", passing.sequence)
    if key not in candidate.known:
        candidate.known[key] = cycle_of(said(passing)[-WINDOW:])
    found: Cycle = candidate.known[key]
    return found


def cycle_of(tokens: Tensor) -> Cycle:
    """Of the end of a text (T,)."""
    newest = tokens.flip(0)
    length = newest.shape[0]
    longest = min(LONGEST, length // 2)
    if not longest:
        one = torch.ones((), dtype=torch.long, device=tokens.device)
        return Cycle(one, one)
    periods = torch.arange(1, longest + 1, device=tokens.device)
    earlier = torch.nn.functional.pad(newest, (0, longest), value=-1).unfold(0, length, 1)[1:]  # (P, T): newest[i + p]
    same = (earlier == newest).cumprod(dim=-1).sum(dim=-1)  # tokens that are what was there a period before
    repeats = same // periods + 1
    covered = torch.where(repeats > 1, repeats * periods, 0)
    best = (covered * (longest + 1) - periods).argmax()
    most = repeats.take(best)  # an index in brackets would be read
    return Cycle(torch.where(most > 1, periods.take(best), 1), most)


def said(passing: Passing) -> Tensor:
    """(T,) tokens of one sequence behind the prompt, with the one that was just chosen. Raises NotKnown."""
    generation, selection = passing.candidate.generation, selection_of(passing)
    if generation.input_ids is None or selection.tokens is None:
        raise NotKnown("no token is chosen here yet")
    earlier = generation.input_ids[passing.sequence, generation.prompt_length :]
    return torch.cat([earlier, selection.tokens[passing.sequence, None]])


def uncertainty(passing: Passing) -> Tensor:
    """() entropy of the next token as a share of the greatest possible one, ln V.

    Of the model's own probabilities or of those that the token is drawn from, whichever is larger: logits processors
    that leave few candidates hide that a model prefers nothing, and a temperature hides that it does.
    """
    selection, sequence = selection_of(passing), passing.sequence
    return torch.maximum(spread(selection.logits[sequence]), spread(selection.scores[sequence]))


def spread(scores: Tensor) -> Tensor:
    """() entropy of scores (V,) over ln V."""
    probs = torch.softmax(scores.double(), dim=-1)
    entropy: Tensor = -torch.special.xlogy(probs, probs).sum()
    return entropy / math.log(max(scores.shape[-1], 2))


def selection_of(passing: Passing) -> Selection:
    selection = passing.candidate.generation.selection
    if selection is None:
        raise NotKnown("no token is being chosen here")
    return selection
