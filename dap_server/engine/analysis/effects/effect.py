"""The effect of edits: a step run without them and with them, beside the suspended run.

Distributions are compared as the model gives them: the softmax of its logits at temperature 1, before any logits
processor, where nothing is cut off to nothing. What processors, a forced token or other sampling options make of that
is told by what is drawn from, and by the token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from dap_server.engine.analysis.effects.distributions import Distance, distance, probability
from dap_server.engine.analysis.effects.movement import Movement, movement
from dap_server.engine.analysis.effects.running import OTHER_TEXT, StepRun, padding_before, run_step
from dap_server.engine.analysis.effects.sizes import Outlier, outliers
from dap_server.engine.analysis.lens.residuals import CannotRead
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.edit import Edit, ModuleValue
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stage import reporting

TITLE = "Running the step without the edits and with them"

Reach = Literal["nothing", "layers", "choice", "logits"]


@dataclass(frozen=True)
class Likely:
    """A token, or a label, and how likely it is."""

    id: int
    probability: float


@dataclass(frozen=True)
class Effect:
    """What edits did in one step, to one sequence.

    Attributes:
        edits: those that it is the effect of.
        reach: how far it came: nothing at all differs; some layers, and not the logits; only the choice of the token;
            the logits.
        logits: between the distributions of the model's logits.
        drawn: between those that the token is drawn from; None in another loop than ours.
        top: the most likely token by the logits, before and after.
        chosen: the token of the step, before and after; None in another loop.
        movement: of the residual stream; None where it cannot be read, for the reason `unread`.
        position: whose logits these are, the one where they moved most, in a model that does not generate; None where
            they are of the next token, or of the whole text.
        outliers: edits of the new list with values far outside of the range of their place.
        unmet: numbers of those that had nothing to change in this step.
        problems: by number, why one of the new list could not be applied.
    """

    step: int
    sequence: int
    edits: tuple[Edit, ...]
    reach: Reach
    logits: Distance
    drawn: Distance | None
    top: tuple[Likely, Likely]
    chosen: tuple[int, int] | None
    movement: Movement | None
    position: int | None = None
    unread: str = ""
    outliers: list[Outlier] = field(default_factory=list)
    unmet: list[int] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)


def effect_of(
    generation: Generation,
    anatomy: Anatomy,
    old: Edits,
    new: Edits,
    step: int | None = None,
    sequence: int | None = None,
) -> Effect | None:
    """What it does to run with a list of edits rather than another. On the model thread.

    Args:
        step: the first one that the lists run differently when missing; of a later one, both are run along the present
            text.
        sequence: the one that is changed most when missing.

    Returns:
        None if no step is run differently.

    Raises:
        CannotRead: the lists begin with other prompts, and what the model says is about positions.
        NotEnoughMemory, Cancelled.
    """
    first = old.first_difference(new)
    if first is None or (step is not None and step < first):
        return None
    step = first if step is None else step
    edits, reached = _difference(old, new), reporting(TITLE)
    reached(0, 2)
    unread = "" if old.prompts == new.prompts else OTHER_TEXT
    before = run_step(generation, anatomy, old, step, edits, unread)
    reached(1, 2)
    after = run_step(generation, anatomy, new, step, edits, unread)
    if unread and before.logits.dim() > 2:
        raise CannotRead(unread)
    rows = before.logits.shape[0]
    beams = max(rows // generation.sequences, 1)  # of a beam search each is a row
    wanted = range(rows) if sequence is None else range(sequence * beams, min((sequence + 1) * beams, rows))
    row = max(wanted, key=lambda row: _amount(before, after, row))
    found = _between(before, after, step, row, edits, padding_before(generation, step, row // beams))
    told = {edit.id for edit in new.active(step)}  # what is taken back is not to be warned of
    return replace(
        found,
        sequence=row // beams,
        outliers=[outlier for outlier in found.outliers if outlier.edit in told],
        unmet=[id for id in found.unmet if id in told],
    )


def _difference(old: Edits, new: Edits) -> tuple[Edit, ...]:
    """The edits that are not active in the same way on both lists."""
    theirs, ours = ([edit for edit in edits.all if edit.is_on] for edits in (old, new))
    changed = [*(edit for edit in theirs if edit not in ours), *(edit for edit in ours if edit not in theirs)]
    return tuple({edit.id: edit for edit in changed}.values())


def _amount(before: StepRun, after: StepRun, row: int) -> float:
    """By how much a sequence is changed, to find the one that is most."""
    tokens = 0.0 if before.tokens is None or after.tokens is None else float(before.tokens[row] != after.tokens[row])
    _, logits = _most_moved(before.logits[row], after.logits[row])
    drawn = _drawn(before, after, row)
    amount = tokens + logits.total_variation + (0.0 if drawn is None else drawn.total_variation)
    return math.inf if math.isnan(amount) else amount


def _most_moved(before: Tensor, after: Tensor) -> tuple[int | None, Distance]:
    """The distance between logits (V,); of logits (T, V) the position where it is largest, too."""
    if before.dim() == 1:
        return None, distance(before, after)
    moved = [distance(old, new) for old, new in zip(before, after, strict=True)]
    amounts = [math.inf if math.isnan(one.total_variation) else one.total_variation for one in moved]
    position = amounts.index(max(amounts))
    return position, moved[position]


def _drawn(before: StepRun, after: StepRun, row: int) -> Distance | None:
    if before.scores is None or after.scores is None:
        return None
    return distance(before.scores[row], after.scores[row])


def _between(before: StepRun, after: StepRun, step: int, row: int, edits: tuple[Edit, ...], padding: int) -> Effect:
    moved, unread = None, before.unread or after.unread
    if before.stream is not None and after.stream is not None:
        try:
            moved = movement(before.stream, after.stream, min(row, before.stream.sequences - 1), padding)
        except CannotRead as error:
            unread = str(error)
    position, logits = _most_moved(before.logits[row], after.logits[row])
    old, new = (run.logits[row] if position is None else run.logits[row, position] for run in (before, after))
    chosen = None
    if before.tokens is not None and after.tokens is not None:
        chosen = int(before.tokens[row]), int(after.tokens[row])
    found = Effect(
        step=step,
        sequence=row,
        edits=edits,
        reach="nothing",
        logits=logits,
        drawn=_drawn(before, after, row),
        top=(_top(old), _top(new)),
        chosen=chosen,
        movement=moved,
        position=position,
        unread=unread,
        outliers=outliers(before.sizes, after.sizes),
        unmet=[edit.id for edit in edits if _misses(edit, step, before.met | after.met)],
        problems=after.problems,
    )
    return replace(found, reach=_reach(found))


def _misses(edit: Edit, step: int, met: frozenset[int]) -> bool:
    """Whether an edit of a module's value had nothing to change: no such position in this step, for instance."""
    return isinstance(edit.target, ModuleValue) and edit.is_active(step) and edit.id not in met


def _reach(effect: Effect) -> Reach:
    if not effect.logits.is_same:
        return "logits"
    is_drawn_same = effect.drawn is None or effect.drawn.is_same
    if not is_drawn_same or (effect.chosen is not None and effect.chosen[0] != effect.chosen[1]):
        return "choice"
    return "nothing" if effect.movement is None or effect.movement.first is None else "layers"


def _top(logits: Tensor) -> Likely:
    """Of logits (V,)."""
    best = int(torch.argmax(logits))
    return Likely(best, probability(logits, best))
