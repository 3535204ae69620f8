"""The named interventions of the debug console, such as `zero(3)`, `ablate("*.layers.2", head=1)`, `force(" Tokyo")`.

Each gives what is proposed, and does nothing itself.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.edits.proposal import Listed, Proposal, Proposed, Undone, Which
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.edits.changes import Change, Source
from dap_server.engine.execution.edits.edit import AttentionValue, Expert, Logits, ModuleValue, Target, Token
from dap_server.engine.execution.edits.selection import CannotEdit, Selection
from dap_server.engine.inspection.frames import Frame
from dap_server.modelmap.patterns import WHOLE_MODEL

Numbers = int | Iterable[int] | slice | None
Positions = Numbers | str
"""A text is every position whose token has it."""
Where = str | int | nn.Module


class Interventions:
    """Of one frame. `where` is a path, a glob, a class, the number of a layer, or a module."""

    def __init__(self, frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        self._frame, self._anatomy, self._vocabulary = frame, anatomy, vocabulary

    def names(self) -> dict[str, Callable[..., object]]:
        """As the console knows them."""
        return {name: getattr(self, name) for name in NAMES}

    # --- values of modules

    def zero(self, where: Where, **at: Any) -> Proposed:
        return self._of_module(where, Change("zero"), at)

    def mean(self, where: Where, vectors: Tensor | None = None, **at: Any) -> Proposed:
        """The mean over all positions of the prompt, or of `vectors` (N, D)."""
        return self._of_module(where, Change("mean", tensor=vectors), at)

    def resample(self, where: Where, vectors: Tensor | None = None, seed: int = 0, **at: Any) -> Proposed:
        """The value at another position of the prompt, or one of `vectors` (N, D), drawn at random."""
        return self._of_module(where, Change("resample", tensor=vectors, seed=seed), at)

    def noise(self, where: Where, std: float, seed: int = 0, **at: Any) -> Proposed:
        return self._of_module(where, Change("noise", number=std, seed=seed), at)

    def scale(self, where: Where, factor: float, **at: Any) -> Proposed:
        return self._of_module(where, Change("scale", number=factor), at)

    def clamp(self, where: Where, low: float | None = None, high: float | None = None, **at: Any) -> Proposed:
        return self._of_module(where, Change("clamp", low=low, high=high), at)

    def steer(self, where: Where, vector: Any, coefficient: float = 1.0, **at: Any) -> Proposed:
        return self._of_module(where, Change("steer", number=coefficient, tensor=_tensor(vector)), at)

    def project_out(self, where: Where, vector: Any, **at: Any) -> Proposed:
        return self._of_module(where, Change("projectOut", tensor=_tensor(vector)), at)

    def skip(self, where: Where, **at: Any) -> Proposed:
        """What goes into the module is what comes out of it."""
        return self._of_module(where, Change("skip"), at)

    def patch(
        self,
        where: Where,
        values: Any = None,
        *,
        prompt: str | None = None,
        branch: int | None = None,
        path: str | None = None,
        step: int | None = None,
        positions: Positions = None,
        from_positions: Numbers = None,
        **at: Any,
    ) -> Proposed:
        """Values of another prompt, branch, module or step, or given ones; at the same positions unless said."""
        selected = self._positions(positions)
        source = None
        if values is None:
            taken = _numbers(from_positions, 0) if from_positions is not None else selected
            source = Source(prompt, branch, path, taken, step)
        tensor = None if values is None else _tensor(values)
        return self._of_module(where, Change("patch", tensor=tensor, source=source), {**at, "positions": selected})

    # --- parts of layers

    def ablate(
        self,
        where: Where,
        *,
        head: Numbers = None,
        neuron: Numbers = None,
        expert: int | None = None,
        steps: Which | None = None,
        **at: Any,
    ) -> Proposed:
        """Zero instead of what a head, a neuron or an expert gives; of the whole module without these."""
        path, zero = self._path(where), Change("zero")
        if sum(part is not None for part in (head, neuron, expert)) > 1:
            raise CannotEdit("ablate heads, neurons or an expert, one after the other")
        if head is not None:
            queries, sequences = self._positions(at.pop("positions", None)), _numbers(at.pop("sequences", None))
            _require_nothing(at)
            heads = AttentionValue(path, "heads", _numbers(head), queries=queries, sequences=sequences)
            return _proposed(heads, zero, steps)
        if expert is not None:
            _require_nothing(at)
            return _proposed(Expert(path, expert), zero, steps)
        return self._of_module(where, zero, {**at, "neurons": neuron, "steps": steps})

    def freeze(self, where: Where, head: Numbers = None, steps: Which | None = None) -> Proposed:
        """Heads go on to look where they look in this step."""
        return _proposed(
            AttentionValue(self._path(where), "pattern", _numbers(head)), Change("freeze", source=Source()), steps
        )

    # --- the choice of the token

    def force(self, *tokens: str | int, steps: Which | None = None) -> Proposed:
        """These tokens are the next ones; a text that takes several is forced one after the other."""
        ids = [id for token in tokens for id in self._ids(token)]
        target = Token(None if self._frame.stop.generation.sequences == 1 else self._frame.sequence)
        return Proposed(tuple(Proposal(target, Change("force", tokens=(id,)), steps, i) for i, id in enumerate(ids)))

    def ban(self, *tokens: str | int, steps: Which | None = None) -> Proposed:
        return _proposed(Logits(), Change("ban", tokens=self._each(tokens)), steps)

    def bias(self, tokens: str | int | Iterable[str | int], number: float, steps: Which | None = None) -> Proposed:
        """A number is added to the logits of tokens."""
        several = [tokens] if isinstance(tokens, str | int) else tokens
        return _proposed(Logits(), Change("bias", number=number, tokens=self._each(several)), steps)

    # --- the list

    def undo(self, id: int | None = None) -> Undone:
        return Undone(id)

    def edits(self) -> Listed:
        return Listed()

    # --- what they are given

    def _of_module(self, where: Where, change: Change, at: Mapping[str, Any]) -> Proposed:
        """`at`: value, part, sequences, positions, neurons, index and steps."""
        rest = dict(at)
        steps, index = rest.pop("steps", None), rest.pop("index", None)
        value: Literal["input", "output"] = rest.pop("value", "output")
        if value not in ("input", "output"):
            raise CannotEdit(f"a module has no value '{value}': it is 'input' or 'output'")
        selection = Selection(
            _numbers(rest.pop("sequences", None)),
            self._positions(rest.pop("positions", None)),
            _numbers(rest.pop("neurons", None)),
            index if index is None or isinstance(index, tuple) else (index,),
        )
        target = ModuleValue(self._path(where), value, rest.pop("part", None), selection)
        _require_nothing(rest)
        return _proposed(target, change, steps)

    def _path(self, where: Where) -> str:
        if isinstance(where, nn.Module):
            path = self._anatomy.path_of(where)
            if path is None:
                raise CannotEdit("this module is none of the model's")
            return path
        if isinstance(where, str):
            return "" if where == WHOLE_MODEL else where
        layers = self._anatomy.layer_paths
        if not -len(layers) <= where < len(layers):
            raise CannotEdit(f"no layer {where}: this model has {len(layers)}, counted from 0")
        return layers[where]

    def _positions(self, positions: Positions) -> tuple[int, ...] | None:
        ids = self._frame.stop.generation.input_ids
        if not isinstance(positions, str):
            return _numbers(positions, 0 if ids is None else ids.shape[1])
        text = [] if ids is None else [self._vocabulary.text(token) for token in ids[self._frame.sequence].tolist()]
        for wanted in (positions, f" {positions}"):
            if found := tuple(i for i, token in enumerate(text) if token == wanted):
                return found
        raise CannotEdit(f"no token of the text is {positions!r}: it is {' | '.join(text)}")

    def _ids(self, token: str | int) -> list[int]:
        tokenizer = self._vocabulary.tokenizer
        ids: list[int] = []
        if isinstance(token, str) and tokenizer is not None and not token.isdigit():
            ids = tokenizer.encode(token, add_special_tokens=False)
        return ids or [self._vocabulary.find(token)]

    def _each(self, tokens: Iterable[str | int]) -> tuple[int, ...]:
        return tuple(self._vocabulary.find(token) for token in tokens)


NAMES = (
    "zero",
    "mean",
    "resample",
    "noise",
    "scale",
    "clamp",
    "steer",
    "project_out",
    "skip",
    "patch",
    "ablate",
    "freeze",
    "force",
    "ban",
    "bias",
    "undo",
    "edits",
)


def _proposed(target: Target, change: Change, steps: Which | None) -> Proposed:
    return Proposed((Proposal(target, change, steps),))


def _require_nothing(rest: Mapping[str, Any]) -> None:
    if rest:
        known = "value, part, sequences, positions, neurons, index, steps"
        raise CannotEdit(f"there is no {', '.join(rest)} here: say where with {known}")


def _numbers(numbers: Numbers, size: int = 0) -> tuple[int, ...] | None:
    if numbers is None:
        return None
    if isinstance(numbers, slice):
        return tuple(range(*numbers.indices(size)))
    several = numbers if isinstance(numbers, Iterable) else (numbers,)
    return tuple(_whole(number) for number in several)


def _whole(number: Any) -> int:
    try:
        return operator.index(number)
    except TypeError:
        raise CannotEdit(f"{number!r} is no whole number") from None


def _tensor(values: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CannotEdit(f"{type(values).__name__} is no tensor: {error}") from None
    return tensor.detach().clone()
