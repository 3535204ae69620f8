"""The names that a condition or a log message may use, and where each is known."""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from dap_server.modelmap.patterns import Pattern
from dap_server.modelmap.places import LOGITS, SAMPLE, STEP, Phase

PlaceKind = Literal["step", "module", "operation", "logits", "processor", "sample"]
"""What a breakpoint may stand on."""

Kind = Literal["integer", "number", "text", "tensor", "list", "function", "module"]
"""What a name is."""

Where = Mapping[PlaceKind, Phase | None]
"""The places that have a name; with a phase where it is known in that one only."""

PLACES: dict[PlaceKind, str] = {
    "step": "a step",
    "module": "a module",
    "operation": "an operation",
    "logits": "`logits`",
    "processor": "a logits processor",
    "sample": "`sample`",
}
"""How a kind of place is called in messages."""

SELECTED: dict[str, PlaceKind] = {STEP: "step", LOGITS: "logits", SAMPLE: "sample"}
"""The places outside of modules that have a name of their own."""

EVERYWHERE: Where = dict.fromkeys(get_args(PlaceKind))
MODULES: Where = {"module": None}
MODULES_AFTER: Where = {"module": "after"}
INSIDE: Where = {"module": None, "operation": None}
INSIDE_AFTER: Where = {"module": "after", "operation": "after"}
SELECTION: Where = {"logits": "after", "processor": "after", "sample": None}
CHOSEN: Where = {"sample": "after"}


@dataclass(frozen=True)
class Name:
    """A name of conditions.

    Attributes:
        signature: as it is shown where it is offered, `attention(head) → (S,)`.
        documentation: one line.
        where: the places that have it.
        is_per_sequence: whether its value belongs to one sequence of the batch.
        parameter: of a function, its only one.
        is_captured: whether the engine has to listen from the beginning of the module to know it.
    """

    name: str
    signature: str
    documentation: str
    kind: Kind
    where: Where = field(hash=False)
    is_per_sequence: bool = False
    parameter: str | None = None
    is_captured: bool = False

    @property
    def phase(self) -> Phase | None:
        """The phase that the name means wherever it is known; None when that depends on the place, or on nothing."""
        phases = set(self.where.values())
        return phases.pop() if len(phases) == 1 else None


_ALL = [
    Name("step", "step: int", "generation step; 0 is the prefill, which makes the first token", "integer", EVERYWHERE),
    Name("layer", "layer: int | None", "number of the layer around the place, from 0", "integer", EVERYWHERE),
    Name(
        "path", "path: str", "path of the module, '.' for the whole model; or the name of the place", "text", EVERYWHERE
    ),
    Name("phase", "phase: str", "'before' or 'after'", "text", EVERYWHERE),
    Name("rank", "rank: int", "number of the process, 0 when there is one", "integer", EVERYWHERE),
    Name("sequence", "sequence: int", "number of the text in the batch, from 0", "integer", EVERYWHERE, True),
    Name("input", "input: Tensor", "first tensor that is given to the module or operation", "tensor", INSIDE),
    Name("output", "output: Tensor", "first tensor that the module or operation returned", "tensor", INSIDE_AFTER),
    Name("hidden", "hidden: Tensor (B, T, D)", "hidden state that leaves the module", "tensor", MODULES_AFTER),
    Name(
        "residual",
        "residual: Tensor (B, T, D)",
        "residual stream at a layer: what enters it before, what leaves it after",
        "tensor",
        MODULES,
    ),
    Name(
        "norm",
        "norm: float",
        "length (L2) of the last position's vector: of the input before, of the output after",
        "number",
        INSIDE,
        True,
    ),
    Name(
        "attention",
        "attention(head) → (S,)",
        "where the last position looks: the weight of every position, which add up to 1",
        "function",
        MODULES_AFTER,
        True,
        "head",
        True,
    ),
    Name(
        "lens",
        "lens(k) → list[str]",
        "the k texts that the logit lens finds most likely at a layer",
        "function",
        MODULES,
        True,
        "k",
    ),
    Name(
        "logits", "logits: Tensor (V,)", "scores of the next token, as the model gave them", "tensor", SELECTION, True
    ),
    Name(
        "probs",
        "probs: Tensor (V,)",
        "probabilities of the next token, by the logits processors so far",
        "tensor",
        SELECTION,
        True,
    ),
    Name("entropy", "entropy: float", "entropy of the next token's probabilities, in nats", "number", SELECTION, True),
    Name(
        "top",
        "top(k) → list[tuple[str, float]]",
        "the k most likely tokens: texts and probabilities",
        "function",
        SELECTION,
        True,
        "k",
    ),
    Name("token", "token: int", "id of the token that was chosen", "integer", CHOSEN, True),
    Name("text", "text: str", "text of the token that was chosen, with the space before it", "text", CHOSEN, True),
    Name("prob", "prob: float", "probability of the token that was chosen, from 0 to 1", "number", CHOSEN, True),
    Name("torch", "torch", "the library: torch.isnan(output).any()", "module", EVERYWHERE),
    Name("math", "math", "Python's mathematics: math.log(prob)", "module", EVERYWHERE),
]

NAMES: dict[str, Name] = {name.name: name for name in _ALL}

_BUILTINS = (
    *("abs", "all", "any", "bool", "chr", "dict", "divmod", "enumerate", "filter", "float", "format", "frozenset"),
    *("int", "isinstance", "len", "list", "map", "max", "min", "ord", "pow", "range", "repr", "reversed", "round"),
    *("set", "slice", "sorted", "str", "sum", "tuple", "zip"),
)

BUILTINS: dict[str, object] = {name: getattr(builtins, name) for name in _BUILTINS}
"""What of Python's builtins a condition may use."""

LIBRARIES: dict[str, object] = {"math": math}
"""The names whose value is the same at every place. `torch` is the engine's to give."""


def place_of(pattern: Pattern) -> PlaceKind | None:
    """What a breakpoint of this name stands on; None where only the model tells: a class, a path of one segment."""
    if pattern.operation is not None:
        return "operation"
    if pattern.text in SELECTED:
        return SELECTED[pattern.text]
    if pattern.text.endswith(("LogitsProcessor", "LogitsWarper")):
        return "processor"
    return "module" if "." in pattern.text or pattern.is_glob else None
