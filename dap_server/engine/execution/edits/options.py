"""Options of sampling from a step on: the logits processors that `generate` would have made for them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

from transformers import GenerationConfig
from transformers.generation.logits_process import LogitsProcessorList

from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.protocol.errors import did_you_mean

PENALTIES: dict[str, type] = {"repetition_penalty": float, "no_repeat_ngram_size": int}
"""Options whose processors come before those that somebody has handed in."""

WARPERS: dict[str, type] = {
    "temperature": float,
    "top_h": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "epsilon_cutoff": float,
    "eta_cutoff": float,
}
"""Options of sampling, whose processors come after them."""

KINDS: dict[str, type] = {"do_sample": bool, **PENALTIES, **WARPERS}

_LAST = ("WatermarkLogitsProcessor", "SynthIDTextWatermarkLogitsProcessor", "LogitNormalization")
"""Processors that come after all others."""


class Sampling(NamedTuple):
    """How a step chooses its token."""

    config: Any
    processors: LogitsProcessorList


def with_options(model: Any, given: Sampling, options: Mapping[str, float]) -> Sampling:
    """The same way of choosing with other options.

    Raises:
        CannotEdit: no such option can be changed while a run goes on, or not to this.
    """
    config = copy.copy(given.config)
    for name, number in options.items():
        setattr(config, name, _value(name, number))
    before, after = _made(model, given.config), _made(model, config)
    processors = list(given.processors)
    processors = _exchanged(processors, before[0], after[0], 0)
    end = next((i for i, p in enumerate(processors) if type(p).__name__ in _LAST), len(processors))
    return Sampling(config, LogitsProcessorList(_exchanged(processors, before[1], after[1], end)))


def _value(name: str, number: float) -> bool | int | float:
    if name not in KINDS:
        known = ", ".join(KINDS)
        raise CannotEdit(f"'{name}' cannot be changed while a run goes on{did_you_mean(name, KINDS)}: {known} can")
    kind = KINDS[name]
    if kind is not float and number != int(number):
        raise CannotEdit(f"'{name}' is a whole number, not {number:g}")
    value: bool | int | float = kind(number)
    return value


def _made(model: Any, config: Any) -> tuple[list[Any], list[Any]]:
    """The processors that these options make, penalties and warpers."""
    bare = GenerationConfig(do_sample=bool(config.do_sample), renormalize_logits=False)
    for name in (*PENALTIES, *WARPERS):
        setattr(bare, name, getattr(config, name, None))
    bare._eos_token_tensor = getattr(config, "_eos_token_tensor", None)
    device = getattr(config, "_pad_token_tensor", None)
    made = []
    for names in (PENALTIES, WARPERS):
        some = copy.copy(bare)
        for name in set(KINDS) - set(names) - {"do_sample"}:
            setattr(some, name, None)
        try:
            made.append(list(model._get_logits_processor(some, 1, device=None if device is None else device.device)))
        except ValueError as error:
            raise CannotEdit(" ".join(str(error).split())) from None
    return made[0], made[1]


def _exchanged(processors: list[Any], before: list[Any], after: list[Any], place: int) -> list[Any]:
    """Those that options made are exchanged; what is the same as before stays the object that it is."""
    known = {type(p): repr(vars(p)) for p in before}
    ours = {type(p): p for p in processors if type(p) in known}
    kept = [i for i, p in enumerate(processors) if type(p) not in known]
    at = next((i for i, p in enumerate(processors) if type(p) in known), place)
    new = [ours[type(p)] if type(p) in ours and known[type(p)] == repr(vars(p)) else p for p in after]
    return [*(processors[i] for i in kept if i < at), *new, *(processors[i] for i in kept if i >= at)]
