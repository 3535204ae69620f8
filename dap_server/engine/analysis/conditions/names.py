"""What the names of a condition mean at a place, each worked out when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dap_server.conditions.names import LIBRARIES, NAMES
from dap_server.engine.analysis.anomalies.measures import Measures
from dap_server.engine.analysis.attention.passing import PassingAttention, last_row
from dap_server.engine.analysis.conditions.saying import PassingLens
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.analysis.norms import first_tensor, unread_norm
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.operations import NOT_RUN
from dap_server.engine.execution.stops import NOTHING
from dap_server.engine.execution.watching import Observation
from dap_server.engine.inspection.arguments import bound_arguments
from dap_server.engine.inspection.selection import Stage
from dap_server.modelmap.patterns import WHOLE_MODEL


class Sources(NamedTuple):
    """What knows the values of names, of one model; `measures` those of filters, where one is meant."""

    anatomy: Anatomy
    vocabulary: Vocabulary
    lens: PassingLens
    measures: Measures | None = None


class PlaceNames(Mapping[str, object]):
    """The names of one candidate, for one sequence of the batch."""

    def __init__(self, candidate: Candidate, sequence: int, sources: Sources) -> None:
        self._candidate, self._sequence, self._sources = candidate, sequence, sources

    def __getitem__(self, name: str) -> object:
        if (number := _NUMBERS.get(name)) is not None:
            return self._number(number(self))
        measures = self._sources.measures
        if name in _VALUES or measures is None:
            return _VALUES[name](self)
        if self._candidate.seen is not None and name in Observation._fields:
            seen = self._candidate.seen
            return getattr(seen.get(self._sequence) or seen[min(seen)], name)
        value = measures.value(name, self._candidate, self._sequence)
        return self._number(value) if isinstance(value, Tensor) else value

    def __contains__(self, name: object) -> bool:
        return name in _NAMED

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMED)

    def __len__(self) -> int:
        return len(_NAMED)

    def _number(self, tensor: Tensor) -> object:
        """What a name is that is a number for people, of a tensor ()."""
        return tensor.item()

    # --- where it is

    def _step(self) -> int:
        return self._candidate.place.step

    def _layer(self) -> int | None:
        return self._sources.anatomy.layer_of(self._candidate.place.path)

    def _path(self) -> str:
        return self._candidate.place.path or WHOLE_MODEL

    def _phase(self) -> str:
        return self._candidate.place.phase

    def _of_sequence(self) -> int:
        return self._sequence

    # --- what passes there

    def _input(self) -> Tensor:
        """What is named `input` in the console, if that is a tensor; else the first tensor that is given."""
        operation, call = self._candidate.operation, self._candidate.call
        given: Any = None
        if operation is not None:
            given = list(operation.operands.values())
        elif call is not None:
            given = bound_arguments(Activation(call.f_locals["self"], call, None))
        return _known(first_tensor(given, is_any=True), "no tensor is given here")

    def _output(self) -> Tensor:
        operation, output = self._candidate.operation, self._candidate.output
        if operation is not None:
            output = NOTHING if operation.result is NOT_RUN else operation.result
        return _known(None if output is NOTHING else first_tensor(output, is_any=True), "no tensor is returned here")

    def _residual(self) -> Tensor:
        path = self._candidate.place.path
        if path not in self._sources.anatomy.layer_paths:
            raise NotKnown(f"the residual stream is known at layers, and '{self._path()}' is none")
        return _known(self._sources.lens.hidden(self._candidate), f"'{path}' does not return a residual stream")

    def _norm(self) -> Tensor:
        """Before a place of what it is given, behind it of what it gave."""
        candidate, value = self._candidate, self._candidate.output
        if candidate.operation is not None:
            value = self._input() if candidate.place.phase == "before" else self._output()
        elif value is NOTHING:
            args, kwargs = candidate.given
            value = args + tuple(kwargs.values())
        norm = unread_norm(value, self._sequence, candidate.generation.sequences)
        if norm is None:
            raise NotKnown("no vectors pass here")
        return norm

    def _attention(self) -> Callable[[int], Tensor]:
        candidate = self._candidate
        calls = candidate.prepared.calls if isinstance(candidate.prepared, PassingAttention) else []
        sequences = candidate.generation.sequences
        return lambda head: last_row(calls, candidate.place.path, head, self._sequence, sequences)

    def _lens_texts(self) -> Callable[[int], list[str]]:
        return lambda k: self._sources.lens.texts(self._candidate, self._sequence, k)

    # --- the choice of the token

    def _stage(self) -> Stage:
        """The scores as they are here."""
        known, key = self._candidate.known, ("stage", self._sequence)
        if key not in known:
            selection = self._candidate.generation.selection
            if selection is None:
                raise NotKnown("no token is being chosen here")
            known[key] = Stage("scores", 0, None, selection.scores[self._sequence], None)
        stage: Stage = known[key]
        return stage

    def _logits(self) -> Tensor:
        selection = self._candidate.generation.selection
        return _known(None if selection is None else selection.logits[self._sequence], "no token is being chosen here")

    def _probs(self) -> Tensor:
        return self._stage().probs

    def _entropy(self) -> Tensor:
        return self._stage().unread_entropy

    def _top(self) -> Callable[[int], list[tuple[str, float]]]:
        stage = self._stage()
        return lambda k: [(self._sources.vocabulary.text(c.token), c.probability) for c in stage.top(k)]

    def _token(self) -> Tensor:
        selection = self._candidate.generation.selection
        tokens = None if selection is None else selection.tokens
        return _known(tokens, "no token is chosen here yet")[self._sequence]

    def _text(self) -> str:
        selection = self._candidate.generation.selection
        if selection is not None and selection.chosen is not None:  # read together with what the loop reads anyway
            return self._sources.vocabulary.text(selection.chosen[self._sequence])
        return self._sources.vocabulary.text(int(self._token()))

    def _generated(self) -> str:
        """As the tokenizer decodes it, special tokens left out."""
        generation, (step, *_) = self._candidate.generation, self._candidate.place
        ids = _known(generation.input_ids, "the tokens of this way of decoding are not known one by one")
        earlier = ids[self._sequence, generation.prompt_length : generation.prompt_length + step]
        return self._sources.vocabulary.decode([*earlier.tolist(), int(self._token())])

    def _prob(self) -> Tensor:
        return self._stage().probs.take(self._token())

    def probability(self, token: int) -> float:
        """Of any token, by the logits processors so far. Raises NotKnown."""
        return self._stage().at(token).probability


class UnreadNames(PlaceNames):
    """The same without the host waiting for the device: numbers are tensors () in float64, which nobody has read."""

    def _number(self, tensor: Tensor) -> Tensor:
        return tensor.double()


def _known(tensor: Tensor | None, why_not: str) -> Tensor:
    if tensor is None:
        raise NotKnown(why_not)
    return tensor


_VALUES: dict[str, Callable[[PlaceNames], object]] = {
    "step": PlaceNames._step,
    "layer": PlaceNames._layer,
    "path": PlaceNames._path,
    "phase": PlaceNames._phase,
    "rank": lambda _: 0,
    "sequence": PlaceNames._of_sequence,
    "torch": lambda _: torch,
    "input": PlaceNames._input,
    "output": PlaceNames._output,
    "hidden": PlaceNames._output,
    "residual": PlaceNames._residual,
    "attention": lambda names: names._attention(),
    "lens": lambda names: names._lens_texts(),
    "logits": PlaceNames._logits,
    "probs": PlaceNames._probs,
    "top": PlaceNames._top,
    "text": PlaceNames._text,
    "generated": PlaceNames._generated,
}
_NUMBERS: dict[str, Callable[[PlaceNames], Tensor]] = {
    "norm": PlaceNames._norm,
    "entropy": PlaceNames._entropy,
    "token": PlaceNames._token,
    "prob": PlaceNames._prob,
}
"""Numbers that are worked out on the device, as tensors ()."""

_NAMED = [name for name in NAMES if name in {**_VALUES, **_NUMBERS}]
assert {*_NAMED, *LIBRARIES} == {name for name, known in NAMES.items() if known.is_of_places}
