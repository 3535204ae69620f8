"""An edit: which value of a run is changed, how, and in which steps. Data, which live runs and replays apply alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.selection import CannotEdit, Selection


@dataclass(frozen=True)
class Steps:
    """The steps in which an edit is applied.

    Attributes:
        first: 0 is the prefill.
        last: itself included; None for all that follow.
    """

    first: int = 0
    last: int | None = None

    def __post_init__(self) -> None:
        """Raises CannotEdit."""
        if self.last is not None and self.last < self.first:
            raise CannotEdit(f"an edit cannot begin in step {self.first} and end in step {self.last}")

    def __contains__(self, step: int) -> bool:
        return self.first <= step and (self.last is None or step <= self.last)


@dataclass(frozen=True)
class ModuleValue:
    """What modules are given or return.

    Attributes:
        path: of a module, "" for the whole model, or a glob of paths.
        part: which argument, by its name or number, or which item of the output; None is the first tensor.
    """

    path: str
    value: Literal["input", "output"] = "output"
    part: str | int | None = None
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True)
class AttentionValue:
    """What the heads of an attention module give, or where they look.

    Attributes:
        path: of the attention module, or a glob.
        value: `heads` (B, T, H, d) before the output projection; `pattern` (B, H, T, S) after the softmax, `scores`
            (B, H, T, S) before it.
        heads: None is all.
        queries: positions in the text; None is all.
        keys: positions in the text; None is all.
        sequences: of the batch; None is all.
    """

    path: str
    value: Literal["heads", "pattern", "scores"] = "heads"
    heads: tuple[int, ...] | None = None
    queries: tuple[int, ...] | None = None
    keys: tuple[int, ...] | None = None
    sequences: tuple[int, ...] | None = None


@dataclass(frozen=True)
class StoredValue:
    """What lasts from step to step: it is written at the beginning of the edit's first step, and stays so.

    Attributes:
        name: a parameter's or buffer's dotted name; of a cache entry the layer and what of it, as `3.keys`.
    """

    kind: Literal["parameter", "cache"]
    name: str
    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True)
class Logits:
    """Logits (B, V) of the next token, in float32, before any logits processor."""

    selection: Selection = field(default_factory=Selection)


@dataclass(frozen=True)
class Token:
    """The token that a step chooses, of one sequence; of all of them with None. It is drawn first, then replaced."""

    sequence: int | None = None


@dataclass(frozen=True)
class Option:
    """An option of sampling, by its name in `generate`."""

    name: str


@dataclass(frozen=True)
class Expert:
    """What one expert of a mixture adds.

    Attributes:
        path: of the mixture's module, or a glob.
    """

    path: str
    index: int


@dataclass(frozen=True)
class Prompt:
    """What the run begins with: one text of a batch, or with None all; of a chat the last message of the user."""

    sequence: int | None = None


Target = ModuleValue | AttentionValue | StoredValue | Logits | Token | Option | Expert | Prompt


@dataclass(frozen=True)
class Edit:
    """One change of one value.

    Attributes:
        id: counts from 1; 0 while it is on no list.
        is_on: whether it is applied.
        text: one line for people.
    """

    target: Target
    change: Change
    steps: Steps
    id: int = 0
    is_on: bool = True
    text: str = ""

    def is_active(self, step: int) -> bool:
        return self.is_on and step in self.steps
