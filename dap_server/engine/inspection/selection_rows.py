"""The rows of token selection: the scopes Sampling and Processor."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.selection import Choice, Stage, options_of
from dap_server.engine.inspection.tensors.axes import VOCABULARY, Axes
from dap_server.engine.inspection.variables import MappingChildren, Row, Rows, describe, short_repr

TOP = 10
MOVERS = 10


@torch.no_grad()
def choice_rows(choice: Choice | None, vocabulary: Vocabulary, sequence: int | None) -> list[Row]:
    """The choice of one token: which, how likely, and how it came about. `rank` counts from 1, `entropy` is in nats.

    `sequence`: which row of the logits and scores that expressions of the frame see this is; None when they see others.
    """
    if choice is None:
        return []
    final = choice.final
    rank = final.rank(choice.token)
    names = [stage.title for stage in choice.stages]
    at = None if sequence is None else f"[{sequence}]"
    over = Axes((VOCABULARY,))
    return [
        Row("token", vocabulary.quoted(choice.token), "str", edit="token"),
        Row("id", str(choice.token), "int", edit="token"),
        Row("state", "chosen" if choice.is_chosen else "will be chosen"),
        Row("draw", choice.draw),
        Row(
            "probability",
            f"{final.at(choice.token).probability:.9g}",
            "float",
            data=probability_id(choice.token, vocabulary),
        ),
        Row("rank", "none" if rank is None else str(rank), "int"),
        Row("entropy", f"{final.entropy:.9g}", "float"),
        Row("pruned", f"{choice.pruned:,} tokens, {choice.pruned_mass:.6g} of the probability"),
        _top("top", final, vocabulary),
        Row("chain", " → ".join(names), children=Rows(partial(_chain, choice, vocabulary))),
        describe("logits", choice.logits.raw, expression=at and f"logits{at}", axes=over),
        describe("scores", final.raw, expression=at and f"scores{at}", axes=over),
        Row("processors", ", ".join(names[1:-1]) or "none"),
    ]


def _chain(choice: Choice, vocabulary: Vocabulary) -> list[Row]:
    return [
        Row(
            stage.title,
            stage_line(stage, choice.token, vocabulary),
            children=Rows(partial(processor_rows, stage, choice.token, vocabulary)),
        )
        for stage in choice.stages
    ]


@torch.no_grad()
def stage_line(stage: Stage, token: int, vocabulary: Vocabulary) -> str:
    """`entropy 3.21 · 50 tokens left, 1,998 pruned (12.3%) · ' Paris' rank 1, 45.6%`."""
    pruned = f", {stage.pruned:,} pruned ({stage.pruned_mass:.3%})" if stage.pruned else ""
    broken = f" · {stage.nan:,} NaN" if stage.nan else ""
    return f"entropy {stage.entropy:.4f} · {stage.kept:,} left{pruned}{broken} · {_standing(stage, token, vocabulary)}"


def _standing(stage: Stage, token: int, vocabulary: Vocabulary) -> str:
    rank = stage.rank(token)
    where = "no probability" if rank is None else f"rank {rank}, {stage.at(token).probability:.2%}"
    return f"{vocabulary.quoted(token)} {where}"


@torch.no_grad()
def processor_rows(stage: Stage | None, token: int | None, vocabulary: Vocabulary) -> list[Row]:
    """What one stage was given and gave."""
    if stage is None:
        return []
    rows = [] if stage.processor is None else [_options(stage.processor)]
    before = stage.before
    if before is not None and stage.processor is not None:
        rows += [
            Row("changed", f"{stage.changed:,} of {stage.scores.numel():,} scores"),
            Row("pruned", f"{stage.pruned:,} tokens"),
            Row("pruned mass", f"{stage.pruned_mass:.9g}", "float"),
        ]
    rows.append(Row("left", f"{stage.kept:,} tokens"))
    if stage.nan:
        rows.append(Row("NaN", f"{stage.nan:,} scores"))
    if before is not None and stage.processor is not None:
        if token is not None:
            standings = " → ".join(_standing(s, token, vocabulary) for s in (before, stage))
            rows.append(Row("token", standings))
        rows += [
            Row("entropy before", f"{before.entropy:.9g}", "float"),
            Row("entropy after", f"{stage.entropy:.9g}", "float"),
            _top("top before", before, vocabulary),
            _top("top after", stage, vocabulary),
            _movers(stage, vocabulary),
        ]
    else:
        rows += [Row("entropy", f"{stage.entropy:.9g}", "float"), _top("top", stage, vocabulary)]
    return [*rows, describe("scores", stage.raw, axes=Axes((VOCABULARY,)))]


def probability_id(token: int, vocabulary: Vocabulary) -> str:
    """What a data breakpoint on the probability of a token is called: by its text, where that is the token's alone."""
    text = vocabulary.text(token)
    return f"probability:{vocabulary.quoted(token) if vocabulary.token_of(text) == token else token}"


def option_texts(processor: object) -> dict[str, str]:
    """The options of a processor, each in a short text. One that raises when it is touched says so."""
    return {name: _text(value) for name, value in options_of(processor).items()}


def _text(value: Any) -> str:
    try:
        return short_repr(value.tolist() if isinstance(value, torch.Tensor) and value.numel() <= 8 else value)
    except Exception as error:
        return f"<{type(error).__name__}: {error}>"


def _options(processor: object) -> Row:
    options = options_of(processor)
    texts = {name: text for name, text in option_texts(processor).items() if len(text) <= 40}
    line = ", ".join(f"{name}={text}" for name, text in texts.items())
    return Row("options", line or "none", type(processor).__name__, _Options(options, type(processor).__name__))


class _Options(MappingChildren):
    """The options of a logits processor, each of which can be watched."""

    def __init__(self, options: dict[str, Any], owner: str) -> None:
        super().__init__(options)
        self._owner = owner

    def named_rows(self) -> list[Row]:
        return [replace(row, data=f"option:{self._owner}.{row.name}", edit=row.name) for row in super().named_rows()]


def _top(name: str, stage: Stage, vocabulary: Vocabulary) -> Row:
    def rows() -> list[Row]:
        best = stage.top(TOP)
        return [
            Row(f"[{i}]", f"{vocabulary.quoted(t)}  id {t}  {p:.6g}", data=probability_id(t, vocabulary))
            for i, (t, _, p) in enumerate(best)
        ]

    return Row(name, f"{min(TOP, stage.kept)} most likely", children=Rows(rows))


def _movers(stage: Stage, vocabulary: Vocabulary) -> Row:
    moves = stage.movers(MOVERS)

    def rows() -> list[Row]:
        return [
            Row(f"[{i}]", f"{vocabulary.quoted(t)}  id {t}  {was:.6g} → {now:.6g}")
            for i, (t, was, now) in enumerate(moves)
        ]

    line = "nothing moves"
    if math.isnan(stage.entropy) or (stage.before is not None and math.isnan(stage.before.entropy)):
        line = "no probabilities"
    elif moves:
        first = moves[0]
        line = f"{vocabulary.quoted(first.token)} {first.before:.2%} → {first.after:.2%}, and others"
    return Row("movers", line, children=Rows(rows) if moves else None)
