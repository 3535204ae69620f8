"""What the axes of a tensor are called, and which token stands at a position.

A name is shown only where it is known: by the layer that a parameter belongs to, or by the name of a value when its
sizes fit what is known of the running forward. Any other axis is `axis 0`, `axis 1` …
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from dap_server.engine.anatomy.tokens import Vocabulary

BATCH, POSITION, QUERY, KEY, HEAD, FEATURE = "batch", "position", "query", "key", "head", "feature"
VOCABULARY, EXPERT, OUT, IN, LAYER = "vocabulary", "expert", "out", "in", "layer"

Label = Callable[[int], str]
"""The text beside an index."""


@dataclass(frozen=True)
class Positions:
    """The tokens that the present forward works on, to name and label the axes of its tensors.

    Attributes:
        ids: B rows of T token ids.
        text: B rows of all S tokens so far, which are what a position may look at; empty when not known.
        heads: how many heads queries, and keys and values, have.
        experts: how many there are in a layer; 0 for none.
        vocabulary_size: V, how many logits the model gives; 0 when not known.
    """

    ids: Sequence[Sequence[int]]
    vocabulary: Vocabulary
    text: Sequence[Sequence[int]] = field(default=(), repr=False)
    heads: frozenset[int] = frozenset()
    experts: int = 0
    vocabulary_size: int = 0

    def sizes(self, axis: str) -> set[int] | None:
        """Those that an axis of this name may have; None when any is possible."""
        match axis:
            case "batch":
                return {len(self.ids)}
            case "position" | "query":
                return {len(self.ids[0])} if self.ids else set()
            case "key":
                # before a layer's cache has got the keys of this forward, too
                return {len(self.text[0]), len(self.text[0]) - len(self.ids[0])} if self.text else set()
            case "head":
                return set(self.heads)
            case "expert":
                return {self.experts}
            case "tokens":
                return {len(self.ids) * len(self.ids[0])} if self.ids else set()
        return None

    def allows(self, axis: str, size: int) -> bool:
        sizes = self.sizes(axis)
        return sizes is None or size in sizes


@dataclass(frozen=True)
class Axes:
    """Names for all axes of a tensor, and what is needed to label them.

    Attributes:
        sequence: the one that the tensor belongs to, once its batch axis is gone; None when it is of several.
    """

    names: tuple[str, ...]
    positions: Positions | None = None
    sequence: int | None = None

    def without(self, axis: int, index: int) -> Axes:
        """The axes of one slice along an axis."""
        sequence = index if self.names[axis] == BATCH else self.sequence
        return replace(self, names=self.names[:axis] + self.names[axis + 1 :], sequence=sequence)

    def label(self, axis: int) -> Label | None:
        """The tokens along an axis, where they are known."""
        positions, name = self.positions, self.names[axis]
        if positions is None or name not in (POSITION, QUERY, KEY):
            return None
        rows = positions.text if name == KEY else positions.ids
        sequence = 0 if len(rows) == 1 else self.sequence
        if sequence is None or not rows:
            return None
        return lambda index: positions.vocabulary.quoted(rows[sequence][index])


_TEMPLATES: list[tuple[str, tuple[tuple[str, ...], ...]]] = [
    (r"(lm_|prediction_|next_token_)?(logits|scores)", ((BATCH, POSITION, VOCABULARY), (BATCH, VOCABULARY))),
    (r"router_(logits|probs|scores)", (("tokens", EXPERT), (BATCH, POSITION, EXPERT))),
    (r"(\w*_)?(ids|attention_mask|padding_mask)", ((BATCH, POSITION), (BATCH, KEY), (BATCH, HEAD, QUERY, KEY))),
    (r"(\w*_)?mask", ((BATCH, POSITION), (BATCH, KEY), (BATCH, "", QUERY, KEY))),
    (
        r"(self_|cross_)?(attn|attention)_?(weights|probs|scores)|attentions",
        ((BATCH, HEAD, QUERY, KEY),),
    ),
    (
        r"(query|q|key|k|value|v)(_states|_layer|s)?",
        ((BATCH, HEAD, POSITION, FEATURE), (BATCH, POSITION, HEAD, FEATURE), (BATCH, HEAD, KEY, FEATURE)),
    ),
    (r"cos|sin", ((BATCH, POSITION, FEATURE), ("", POSITION, FEATURE))),
]
"""By the names that transformers gives to values: what their axes may be. "" is an axis without a name."""

_ANY: tuple[tuple[str, ...], ...] = (
    (BATCH, POSITION),
    (BATCH, POSITION, FEATURE),
    (BATCH, HEAD, QUERY, KEY),
    (BATCH, HEAD, POSITION, FEATURE),
    (BATCH, POSITION, HEAD, FEATURE),
)
"""For other names: sizes that agree in two axes or more are hardly ever something else."""

_TOKENS = {POSITION, QUERY, KEY}
"""While the prompt is worked on these have the same size, and the same tokens."""


def axes_of(name: str, tensor: Tensor, positions: Positions | None) -> Axes:
    """The axes of a value of the running forward. An axis that could be one or the other by its size is not named."""
    shape = tuple(tensor.shape)
    if positions is None or not positions.ids:
        return unnamed(len(shape), positions)
    templates = next((found for form, found in _TEMPLATES if re.fullmatch(form, name)), _ANY)
    fitting = [found for found in templates if _fits(found, shape, positions)]
    names = [_agreed(found) or f"axis {i}" for i, found in enumerate(zip(*fitting, strict=True))]
    if names and names[-1] == FEATURE and shape[-1] == positions.vocabulary_size:
        names[-1] = VOCABULARY
    return Axes(tuple(names), positions) if names else unnamed(len(shape), positions)


def _fits(template: Sequence[str], shape: tuple[int, ...], positions: Positions) -> bool:
    return len(template) == len(shape) and all(map(positions.allows, template, shape))


def _agreed(names: Sequence[str]) -> str:
    """The one name of an axis; "" when it may have several meanings."""
    return names[0] if len(set(names)) == 1 or set(names) <= _TOKENS else ""


def unnamed(count: int, positions: Positions | None = None) -> Axes:
    return Axes(tuple(f"axis {i}" for i in range(count)), positions)


def parameter_axes(module: nn.Module, name: str, tensor: Tensor) -> Axes:
    """The axes of a parameter or buffer, by the kind of its module."""
    names: tuple[str, ...] = ()
    if isinstance(module, nn.Linear):
        names = (OUT, IN) if name == "weight" else (OUT,)
    elif isinstance(module, nn.Embedding):
        names = (VOCABULARY, FEATURE)
    elif type(module).__name__ == "Conv1D":  # of transformers: a linear layer whose weight is transposed
        names = (IN, OUT) if name == "weight" else (OUT,)
    elif name in ("weight", "bias") and tensor.dim() == 1 and re.search("norm", type(module).__name__, re.IGNORECASE):
        names = (FEATURE,)
    return Axes(names) if len(names) == tensor.dim() else unnamed(tensor.dim())
