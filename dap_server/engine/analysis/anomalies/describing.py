"""What to tell of an anomaly: one line that somebody can act on, with numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from dap_server.engine.analysis.anomalies import activations, choosing, looking, magnitudes, padding
from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.analysis.anomalies.weights import odd_weight
from dap_server.engine.anatomy.nonlinearities import ends_of
from dap_server.engine.anatomy.tokens import Vocabulary

SHOWN = 60
"""Characters of a cycle that are shown."""


@torch.no_grad()
def describe(filter: str, passing: Passing, vocabulary: Vocabulary) -> str:
    """What a filter has found at a place. Raises KeyError: it is none that measures. Raises NotKnown, as it does."""
    return _DESCRIPTIONS[filter](passing, vocabulary)


def _near_overflow(passing: Passing, _vocabulary: Vocabulary) -> str:
    made = passing.output
    peak, limit = float(magnitudes.peak(passing)), magnitudes.limit(passing)
    index = [int(i) for i in torch.unravel_index(magnitudes.below_limit(made).argmax(), made.shape)]
    dtype = str(made.dtype).removeprefix("torch.")
    what = f"{peak:.4g} at {index}, {peak / limit:.0%} of the largest {dtype} ({limit:.4g})"
    wider = "bfloat16 or float32 reaches further" if dtype == "float16" else "something before it is far too large"
    return f"{_where(passing)} returns {what}: {wider}{_because(passing)}"


def _residual(passing: Passing, _vocabulary: Vocabulary) -> str:
    before, after = magnitudes.vectors(passing)
    small, large = float(magnitudes.typical(before)), float(magnitudes.typical(after))
    norms = float(before.double().norm()), float(after.double().norm())
    times = float(magnitudes.growth(passing))
    change = (
        f"{_times(times)} as large"
        if times >= 1 or math.isnan(times)
        else f"{_times(1 / times if times else math.inf)} as small"
    )
    numbers = f"typical element {small:.3g} → {large:.3g}, norm {norms[0]:.3g} → {norms[1]:.3g}"
    hint = _because(passing) or ": no weight of it is out of line, so step into it and see what it adds"
    return f"{_where(passing)} makes the residual stream {change} ({numbers}){hint}"


def _dead_activations(passing: Passing, _vocabulary: Vocabulary) -> str:
    made, given = passing.output, passing.input
    dead, saturated = float(activations.dead(passing)), float(activations.saturated(passing))
    came_in = (
        ""
        if given is None or not given.numel()
        else f", for inputs from {float(given.min()):.3g} to {float(given.max()):.3g}"
    )
    if dead >= saturated:
        units = made.shape[-1]
        what = f"{round(dead * units):,} of {units:,} units let nothing through at any position"
        hint = "look at the weights and the bias in front of it"
    else:
        ends = " or ".join(f"{end:g}" for end in ends_of(passing.module) if end is not None)
        what, hint = f"{saturated:.0%} of the values are at {ends}", "what comes in is far too large"
    return f"{_where(passing)}: {what}{came_in}: {hint}{_because(passing)}"


def _attention(passing: Passing, vocabulary: Vocabulary) -> str:
    rows = looking.last_rows(passing)
    row = max(rows, key=lambda each: float((looking.is_collapsed(each) | looking.is_uniform(each)).float().mean()))
    heads, keys = row.weights.shape
    blind, alike = row.is_blind, looking.is_uniform(row)
    alone = looking.is_collapsed(row) & ~blind
    kinds = {"blind": int(blind.sum()), "alike": int(alike.sum()), "alone": int(alone.sum())}
    kind = max(kinds, key=lambda name: kinds[name])
    who = f"{row.call.path or _where(passing)}: {kinds[kind]} of {heads} heads"
    if kind == "blind":
        return f"{who} see no position at all: the mask hides every one{_because(passing)}"
    if kind == "alike":
        among = int((row.weights[alike][0] > 0).sum())
        return f"{who} look at all {among} positions alike: queries or keys are about zero{_because(passing)}"
    head = int(alone.int().argmax())
    key = int(row.weights[head].argmax())
    seen, token = row.call.text.key_position(key), row.token(key)
    what = f"position {seen}" + ("" if token is None else f", {vocabulary.quoted(token)}")
    is_own = bool((row.weights[alone].argmax(dim=-1) == keys - 1).all())
    own = "their own position only" if is_own else f"one position only, head {head} at {what}"
    return f"{who} look at {own}: the mask is too narrow, or queries and keys are too large{_because(passing)}"


def _repetition(passing: Passing, vocabulary: Vocabulary) -> str:
    period, repeats = (int(value) for value in choosing.cycle(passing))
    text = "".join(vocabulary.text(token) for token in choosing.said(passing)[-period:].tolist())
    shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
    what = f"the last {period * repeats:,} tokens are {repeats:,} times the same {period:,}, {shown}"
    return f"{_of_sequence(passing)}{what}: look at the sampling options, and at why the text does not end"


def _low_confidence(passing: Passing, vocabulary: Vocabulary) -> str:
    selection, sequence = choosing.selection_of(passing), passing.sequence
    logits, scores = selection.logits[sequence], selection.scores[sequence]
    most = math.log(max(logits.shape[-1], 2))
    own, drawn = float(choosing.spread(logits)) * most, float(choosing.spread(scores)) * most
    chosen = ""
    if selection.tokens is not None:
        token = int(selection.tokens[sequence])
        prob = float(torch.softmax(scores.double(), dim=-1)[token])
        chosen = f", and {vocabulary.quoted(token)} was chosen with a probability of {prob:.2g}"
    if own >= drawn or own > 0.9 * most:
        low, high = float(logits.min()), float(logits.max())
        what = f"the model prefers nothing: {own:.3g} of {most:.3g} nats, logits from {low:.3g} to {high:.3g}"
        hint = "look at the head, the last norm and what came before"
    else:
        what = f"the model has {own:.3g} nats of entropy, what is drawn from {drawn:.3g} of {most:.3g}"
        hint = "look at the temperature and the logits processors"
    return f"{_of_sequence(passing)}{what}{chosen}: {hint}"


def _padding(passing: Passing, _vocabulary: Vocabulary) -> str:
    given = padding.given(passing)
    counts = [int(count) for count in (given.tokens, given.attended_padding, given.masked_tokens, given.right_padding)]
    tokens, attended, hidden, behind = counts
    found = []
    if not tokens:
        found.append("there is no text that the model sees")
    if attended:
        found.append(f"the mask lets it look at {_positions(attended)} of padding: pass the tokenizer's attention_mask")
    if hidden:
        found.append(f"the mask hides {_positions(hidden)} of the text: is it upside down, or moved?")
    if behind:
        found.append(f"{_positions(behind)} stand behind the text, where a decoder goes on: padding_side='left'")
    length = given.is_seen.shape[0]
    return f"{_of_sequence(passing)}{'; '.join(found) or 'padding and mask agree'} ({length:,} positions)"


def _where(passing: Passing) -> str:
    return passing.anatomy.name_of(passing.candidate.place.path)


def _of_sequence(passing: Passing) -> str:
    return f"sequence {passing.sequence + 1}: " if passing.candidate.generation.sequences > 1 else ""


def _positions(count: int) -> str:
    return "1 position" if count == 1 else f"{count:,} positions"


def _times(times: float) -> str:
    return "infinitely" if math.isinf(times) else f"{times:.3g} times"


def _because(passing: Passing) -> str:
    """The weight of the layer around that is out of line, if there is one."""
    path = passing.candidate.place.path
    layer = next((each for each in passing.anatomy.layer_paths if path == each or path.startswith(f"{each}.")), None)
    odd = None if layer is None else odd_weight(layer, passing.anatomy)
    if odd is None:
        return ""
    if math.isnan(odd.times) or odd.times in (0, math.inf):
        return f": {odd.path} is {'not finite' if odd.times else 'zero'}"
    what = f"{_times(odd.times)} as large" if odd.times >= 1 else f"{_times(1 / odd.times)} as small"
    return f": {odd.path} is {what} as in the other layers"


_DESCRIPTIONS: dict[str, Callable[[Passing, Vocabulary], str]] = {
    "nearOverflow": _near_overflow,
    "residual": _residual,
    "deadActivations": _dead_activations,
    "attention": _attention,
    "repetition": _repetition,
    "lowConfidence": _low_confidence,
    "padding": _padding,
}
