"""What edits did, in a line or two that somebody can act on."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dap_server.engine.analysis.answers import Answers
from dap_server.engine.analysis.effects.distributions import Distance
from dap_server.engine.analysis.effects.effect import Effect, effect_of
from dap_server.engine.analysis.effects.movement import Movement
from dap_server.engine.analysis.effects.sizes import Outlier
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.stops import Stop
from dap_server.protocol.errors import Cancelled, RequestError

SMALL = 1e-4
"""Less than this share of the probability is hardly any."""

UNASKED_POSITIONS = 256
"""Of a forward: the effect of an edit in a larger one is worked out only for who asks."""


def unasked_lines(stop: Stop, anatomy: Anatomy, edits: Edits, answers: Answers) -> list[str]:
    """What another list of edits does to the first step that it changes, if that has begun. On the model thread.

    Raises:
        Cancelled.
    """
    generation = stop.generation
    step = generation.edits.first_difference(edits)
    if step is None or step > stop.place.step or generation.tape is None:
        return []
    length = max(generation.prompt_length, 1)
    if generation.run is not None and generation.edits.prompts != edits.prompts:
        length = max(length, generation.run.prompt_length(edits))
    positions = generation.sequences * (1 if step else length)
    if positions > UNASKED_POSITIONS:
        return [f"effect in step {step}: ask for it, since it takes two forwards over {positions:,} positions"]
    try:
        found = effect_of(generation, anatomy, generation.edits, edits)
    except Cancelled:
        raise
    except RequestError as error:
        return [f"effect in step {step}: not known, {error}"]
    return [] if found is None else effect_lines(found, answers)


def effect_lines(effect: Effect, answers: Answers) -> list[str]:
    """`effect in step 0: ' Paris' 98.3% → ' Tokyo' 91.2% · KL 5.21 nats, …`, and what there is to warn of."""
    where = f"effect in step {effect.step}" + (f" of sequence {effect.sequence + 1}" if effect.sequence else "")
    return [f"{where}: {' · '.join(_parts(effect, answers))}", *_warnings(effect)]


def _parts(effect: Effect, answers: Answers) -> Iterator[str]:
    moved = _moved(effect.movement, effect.unread)
    match effect.reach:
        case "nothing":
            yield "none, all that is compared is the same to the last bit"
            if effect.unread:
                yield moved
        case "layers":
            yield "none on the next token, the logits are the same to the last bit"
            yield moved
        case "choice":
            yield _choice(effect, answers)
            yield "the logits of the model are the same"
        case "logits":
            yield _top(effect, answers)
            yield _amount(effect.logits)
            yield moved


def _top(effect: Effect, answers: Answers) -> str:
    before, after = effect.top
    was, now = (f"{answers.quoted(one.id)} {one.probability:.1%}" for one in effect.top)
    match math.isfinite(before.probability), math.isfinite(after.probability):
        case True, False:
            return f"the logits are not finite any more, and {was} is gone"
        case False, True:
            return f"the logits are finite again, with {now}"
        case False, False:
            return "the logits are not finite, as before"
    name = "" if before.id == after.id else f"{answers.quoted(after.id)} "
    line = f"{answers.quoted(before.id)} {before.probability:.1%} → {name}{after.probability:.1%}"
    if effect.position is not None:
        line += f" at position {effect.position}"
    chosen = effect.chosen
    if chosen is not None and chosen[0] != chosen[1] and chosen != (before.id, after.id):
        line += f", chosen {answers.quoted(chosen[0])} → {answers.quoted(chosen[1])}"
    return line


def _amount(distance: Distance) -> str:
    if not math.isfinite(distance.total_variation):
        return "KL not finite"
    kl = f"KL {distance.kl:.3g} nats" if math.isfinite(distance.kl) else "KL infinite"
    if distance.total_variation < SMALL:
        return f"hardly any, {kl}"
    return f"{kl}, {distance.total_variation:.1%} of the probability moved"


def _choice(effect: Effect, answers: Answers) -> str:
    assert effect.chosen is not None
    before, after = map(answers.quoted, effect.chosen)
    token = f"the token is {after} as before" if before == after else f"the token is {after} instead of {before}"
    if effect.drawn is None or effect.drawn.is_same:
        return token
    return f"{token}, {effect.drawn.total_variation:.1%} of the probability that it is drawn from moved"


def _moved(moved: Movement | None, unread: str) -> str:
    """From where to where the residual stream moved."""
    if moved is None:
        return f"the residual stream is not compared: {unread}"
    if moved.first is None:
        return "no layer's output moved"
    first, gone = _name(moved.paths[moved.first]), moved.died_out
    if gone is not None:
        return f"the residual stream moved from {first} on, and the effect died out in {_name(moved.paths[gone])}"
    last = float(moved.relative[-1, -1])
    if last == 0:
        return f"the residual stream moved from {first} on, and not at the last position"
    amount = f"by {last:.1%}"
    if not math.isfinite(last):
        amount = "to or from what is not finite" if math.isnan(last) else "from zero"
    return f"the residual stream moved from {first} to the end, there {amount} at the last position"


def _name(path: str) -> str:
    return path or "what goes into the first layer"


def _warnings(effect: Effect) -> Iterator[str]:
    texts = {edit.id: f"edit {edit.id} ({edit.text})" if edit.text else f"edit {edit.id}" for edit in effect.edits}
    for id, problem in effect.problems.items():
        yield f"{texts.get(id, f'edit {id}')} is not applied: {problem}"
    for id in effect.unmet:
        if id not in effect.problems:
            yield f"{texts[id]} has nothing to change in step {effect.step}"
    for outlier in effect.outliers:
        yield f"{texts[outlier.edit]} is far outside of the range of its place: {_outlier(outlier)}"


def _outlier(outlier: Outlier) -> str:
    if math.isnan(outlier.factor):
        return f"values of {outlier.where} are not finite"
    own, new = outlier.own, outlier.new
    return (
        f"values of {outlier.where} up to {new.largest:.3g}, norm {new.norm:.3g}, "
        f"where its own go up to {own.largest:.3g}, norm {own.norm:.3g}"
    )
