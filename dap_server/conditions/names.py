"""The names that a condition or a log message may use, and where each is known."""

from __future__ import annotations

import builtins
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Literal, get_args

from dap_server.modelmap.places import LOGITS, SAMPLE, STEP, Phase

if TYPE_CHECKING:
    from dap_server.modelmap.patterns import Pattern

BasePlace = Literal["step", "module", "operation", "logits", "processor", "sample"]
"""What a breakpoint may stand on."""

FilterId = Literal[
    "nonFinite",
    "nearOverflow",
    "residual",
    "deadActivations",
    "attention",
    "repetition",
    "lowConfidence",
    "padding",
    "forwardError",
]
"""The filters of anomalies: what stands on many places, and has names of its own beside theirs."""

PlaceKind = BasePlace | FilterId | Literal["data"]
"""What a condition may be of: a place, a filter, or a value that is watched."""

Kind = Literal["integer", "number", "text", "tensor", "list", "function", "module"]
"""What a name is."""

Where = Mapping[PlaceKind, Phase | None]
"""The places that have a name; with a phase where it is known in that one only."""

PLACES: dict[BasePlace, str] = {
    "step": "a step",
    "module": "a module",
    "operation": "an operation",
    "logits": "`logits`",
    "processor": "a logits processor",
    "sample": "`sample`",
}
"""How a kind of place is called in messages."""

PLACES_OF: dict[PlaceKind, tuple[BasePlace, Phase]] = {
    "nonFinite": ("module", "after"),
    "nearOverflow": ("module", "after"),
    "residual": ("module", "after"),
    "deadActivations": ("module", "after"),
    "attention": ("module", "after"),
    "repetition": ("sample", "after"),
    "lowConfidence": ("sample", "after"),
    "padding": ("step", "before"),
    "forwardError": ("module", "after"),
}
"""The places of each filter, whose names its condition may use too."""

SELECTED: dict[str, BasePlace] = {STEP: "step", LOGITS: "logits", SAMPLE: "sample"}
"""The places outside of modules that have a name of their own."""

EVERYWHERE: Where = dict.fromkeys(get_args(BasePlace))
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
    def filter(self) -> PlaceKind | None:
        """The filter that it belongs to, if it is no name of places."""
        return next((place for place in self.where if place in PLACES_OF), None)

    @property
    def is_of_places(self) -> bool:
        """Whether some kind of place has it, and not only a filter or a watched value."""
        return any(place in PLACES for place in self.where)

    @property
    def phase(self) -> Phase | None:
        """The phase that the name means wherever it is known; None when that depends on the place, or on nothing."""
        phases = set(self.where.values())
        return phases.pop() if len(phases) == 1 else None


def _own(filter: FilterId, name: str, signature: str, documentation: str, is_per_sequence: bool = False) -> Name:
    where: Where = {filter: PLACES_OF[filter][1]}
    return Name(name, signature, documentation, "number", where, is_per_sequence, is_captured=filter == "attention")


_OF_FILTERS = [
    _own("nonFinite", "count", "count: int", "elements that are NaN or infinite"),
    _own("nonFinite", "nans", "nans: int", "elements that are NaN"),
    _own("nonFinite", "infinities", "infinities: int", "elements that are infinite"),
    _own("nearOverflow", "peak", "peak: float", "largest magnitude of the elements"),
    _own("nearOverflow", "limit", "limit: float", "largest number that the dtype can hold"),
    _own(
        "residual",
        "growth",
        "growth: float",
        "typical size of the residual stream behind the layer, by that before it",
        True,
    ),
    _own("deadActivations", "dead", "dead: float", "share of the units that let nothing through at any position"),
    _own("deadActivations", "saturated", "saturated: float", "share of the values at an end of a bounded function"),
    _own(
        "attention",
        "collapsed",
        "collapsed: float",
        "share of heads that look at one position only, and not the first",
        True,
    ),
    _own("attention", "uniform", "uniform: float", "share of heads that look everywhere alike", True),
    _own("repetition", "period", "period: int", "tokens after which the end of the text repeats itself", True),
    _own("repetition", "repeats", "repeats: int", "how often it has come in a row", True),
    _own("lowConfidence", "uncertainty", "uncertainty: float", "entropy by the greatest possible one, 0 to 1", True),
    _own("padding", "attended_padding", "attended_padding: int", "padding that the model is let look at", True),
    _own("padding", "masked_tokens", "masked_tokens: int", "tokens of the text that are hidden by the mask", True),
    _own("padding", "right_padding", "right_padding: int", "padding behind the text", True),
    _own("padding", "tokens", "tokens: int", "tokens of the text, padding not counted", True),
    Name("error", "error: str", "class of the exception", "text", {"forwardError": "after"}),
    Name("message", "message: str", "what the exception says", "text", {"forwardError": "after"}),
]

_OF_DATA = [
    Name("value", "value: Tensor | number", "what is watched, as it is here", "tensor", {"data": None}),
    Name(
        "before",
        "before: Tensor | number | None",
        "the same as it was last seen; None at first",
        "tensor",
        {"data": None},
    ),
    Name(
        "change", "change: float", "largest absolute difference between the two, 0 at first", "number", {"data": None}
    ),
]

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
    Name(
        "generated",
        "generated: str",
        "text that was generated so far, without the prompt and with the chosen token",
        "text",
        CHOSEN,
        True,
    ),
    Name("prob", "prob: float", "probability of the token that was chosen, from 0 to 1", "number", CHOSEN, True),
    *_OF_FILTERS,
    *_OF_DATA,
    Name("torch", "torch", "the library: torch.isnan(output).any()", "module", EVERYWHERE),
    Name("math", "math", "Python's mathematics: math.log(prob)", "module", EVERYWHERE),
    Name("re", "re", r"Python's regular expressions: re.search(r'\d{4}$', generated)", "module", EVERYWHERE),
]

NAMES: dict[str, Name] = {name.name: name for name in _ALL}

_BUILTINS = (
    *("abs", "all", "any", "bool", "chr", "dict", "divmod", "enumerate", "filter", "float", "format", "frozenset"),
    *("int", "isinstance", "len", "list", "map", "max", "min", "ord", "pow", "range", "repr", "reversed", "round"),
    *("set", "slice", "sorted", "str", "sum", "tuple", "zip"),
)

BUILTINS: dict[str, object] = {name: getattr(builtins, name) for name in _BUILTINS}
"""What of Python's builtins a condition may use."""

LIBRARIES: dict[str, ModuleType] = {"math": math, "re": re}
"""The names whose value is the same at every place. `torch` is the engine's to give."""


def place_of(pattern: Pattern) -> BasePlace | None:
    """What a breakpoint of this name stands on; None where only the model tells: a class, a path of one segment."""
    if pattern.operation is not None:
        return "operation"
    if pattern.text in SELECTED:
        return SELECTED[pattern.text]
    if pattern.text.endswith(("LogitsProcessor", "LogitsWarper")):
        return "processor"
    return "module" if "." in pattern.text or pattern.is_glob else None
