"""Edits in one line, for people."""

from __future__ import annotations

from collections.abc import Sequence

from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import (
    AttentionValue,
    Expert,
    Logits,
    ModuleValue,
    Option,
    Prompt,
    Steps,
    StoredValue,
    Target,
    Token,
)
from dap_server.modelmap.patterns import WHOLE_MODEL


def edit_text(target: Target, change: Change, steps: Steps, vocabulary: Vocabulary) -> str:
    """`scale output of model.layers.3 at position 4 by 2, from step 1 on`."""
    if isinstance(target, Prompt):
        return f"{target_text(target)} = {change.text!r}"
    tokens = ", ".join(map(vocabulary.quoted, change.tokens))
    return f"{_what(target_text(target), change, tokens)}, {steps_text(steps)}"


def target_text(target: Target) -> str:
    """`output of model.layers.3 at position 4`, `heads 1 of model.layers.3.self_attn`."""
    match target:
        case ModuleValue(path, value, part, selection):
            which = "" if part is None else f" {part}"
            return f"{value}{which} of {path or WHOLE_MODEL}{selection}"
        case AttentionValue(path, value):
            named = {
                "sequences": target.sequences,
                "heads": target.heads,
                "queries": target.queries,
                "keys": target.keys,
            }
            parts = [f"{name} {_numbers(part)}" for name, part in named.items() if part is not None]
            what = {"heads": "what heads give in", "pattern": "attention pattern of", "scores": "attention scores of"}
            return f"{what[value]} {path}{' at ' if parts else ''}{', '.join(parts)}"
        case StoredValue(kind, name, selection):
            return f"{'cache ' if kind == 'cache' else ''}{name}{selection}"
        case Logits(selection):
            return f"logits{selection}"
        case Token(sequence):
            return "the token" if sequence is None else f"the token of sequence {sequence}"
        case Option(name):
            return name
        case Expert(path, index):
            return f"expert {index} of {path}"
        case Prompt(sequence):
            return "prompt" if sequence is None else f"prompt of sequence {sequence}"


def steps_text(steps: Steps) -> str:
    if steps.last == steps.first:
        return f"step {steps.first}"
    if steps.last is not None:
        return f"steps {steps.first} to {steps.last}"
    return f"from step {steps.first} on" if steps.first else "all steps"


def _what(where: str, change: Change, tokens: str) -> str:
    number = "" if change.number is None else f"{change.number:.9g}"
    match change.kind:
        case "set":
            return f"{where} = {number or 'other numbers'}"
        case "zero" | "skip":
            return f"{change.kind} {where}"
        case "mean" | "resample":
            return f"{change.kind} {where}"
        case "noise":
            return f"noise of {number} on {where}"
        case "scale":
            return f"scale {where} by {number}"
        case "clamp":
            low = "" if change.low is None else f" from {change.low:.9g}"
            high = "" if change.high is None else f" to {change.high:.9g}"
            return f"clamp {where}{low}{high}"
        case "steer":
            return f"steer {where}{' by ' + number if number else ''}"
        case "projectOut":
            return f"project a direction out of {where}"
        case "freeze":
            return f"freeze {where}"
        case "patch":
            return f"patch {where} from {change.source or 'elsewhere'}"
        case "force":
            return f"{where} = {tokens}"
        case "ban":
            return f"ban {tokens}"
        case "bias":
            return f"bias {tokens} by {change.number:+.9g}"


def _numbers(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
