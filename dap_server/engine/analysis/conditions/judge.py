"""Evaluates conditions and log messages in the middle of a run, and leaves it as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FrameType

import torch
from torch import Tensor, nn

from dap_server.conditions.deferred.calls import COMPUTED
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import Condition, raised
from dap_server.conditions.log_messages import LogMessage
from dap_server.conditions.names import BUILTINS, LIBRARIES
from dap_server.engine.analysis.anomalies.measures import Measures
from dap_server.engine.analysis.answers import Answers
from dap_server.engine.analysis.attention.passing import PassingAttention
from dap_server.engine.analysis.conditions.logic import DeviceLogic, Truth, is_true
from dap_server.engine.analysis.conditions.names import PlaceNames, Sources, UnreadNames
from dap_server.engine.analysis.conditions.saying import PassingLens
from dap_server.engine.analysis.conditions.watched import read
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution import randomness
from dap_server.engine.execution.judging import Candidate, Prepared
from dap_server.engine.execution.watching import Watch

RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What somebody's expression may raise."""


_LOGIC = DeviceLogic()


class ConditionJudge:
    """The `Judge` of one model."""

    def __init__(self, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        lens = PassingLens(anatomy, Answers(anatomy, vocabulary))
        self._sources = Sources(anatomy, vocabulary, lens, Measures(anatomy))
        self._device = next((p.device for p in anatomy.model.parameters()), torch.device("cpu"))
        self._only_looks: dict[str, bool] = {}  # by text

    def prepare(self, path: str, module: nn.Module, call: FrameType, is_aside: Callable[[], bool]) -> Prepared:
        return PassingAttention(path, module, call, self._sources.anatomy, is_aside)

    def sequences(self, condition: Condition | None, candidate: Candidate, each: bool = False) -> Iterator[int]:
        """For which it is true. A sequence that has ended has no say any more, unless it is the only one."""
        if candidate.generation.sequences > 1 and (each or (condition is not None and condition.is_per_sequence)):
            return (i for i in _going_on(candidate) if condition is None or self._is_true(condition, candidate, i))
        return iter((0,) if condition is None or self._is_true(condition, candidate, 0) else ())

    def flag(self, condition: Condition, candidate: Candidate) -> Truth:
        """For any sequence that goes on. Nothing is read, and only what can be left to the device may be asked."""
        unfinished, sequences = candidate.generation.unfinished, candidate.generation.sequences
        try:
            with torch.no_grad():
                if not condition.is_per_sequence:
                    return self._flag(condition, candidate, 0)
                if unfinished is None or sequences == 1:
                    return _LOGIC.some(self._flag(condition, candidate, i) for i in range(sequences))
                return _LOGIC.some(
                    _LOGIC.every([self._flag(condition, candidate, i), unfinished[i]]) for i in range(sequences)
                )
        except RAISED as error:
            raise condition.blame(error) from error

    def watched(self, watch: Watch, candidate: Candidate) -> dict[int, object]:
        try:
            with torch.no_grad():
                return read(watch, candidate, lambda sequence: PlaceNames(candidate, sequence, self._sources))
        except RAISED as error:
            text = str(watch.data)
            raise ConditionError(f"cannot be read: {raised(error)}", 1, len(text) + 1, text) from error

    def text(self, message: LogMessage, candidate: Candidate, sequence: int) -> str:
        def evaluate(condition: Condition) -> object:
            try:
                return self._value(condition, candidate, sequence)
            except RAISED as error:
                raise condition.blame(error) from error

        try:
            with torch.no_grad():
                return message.render(evaluate)
        except ConditionError:
            raise
        except RAISED as error:  # a format that does not fit a value
            source, what = message.source, f"{type(error).__name__}: {error}"
            raise ConditionError(what, 1, len(source) + 1, source, "log") from error

    def _flag(self, condition: Condition, candidate: Candidate, sequence: int) -> Truth:
        return condition.flag(UnreadNames(candidate, sequence, self._sources), _LOGIC)

    def _is_true(self, condition: Condition, candidate: Candidate, sequence: int) -> bool:
        if torch.is_grad_enabled():  # in `generate` it is not, and to say so again takes as long as a norm
            with torch.no_grad():
                return self._is_true(condition, candidate, sequence)
        try:
            return is_true(self._value(condition, candidate, sequence))
        except RAISED as error:
            raise condition.blame(error) from error

    def _value(self, condition: Condition, candidate: Candidate, sequence: int) -> object:
        names = PlaceNames(candidate, sequence, self._sources)
        harmless = self._only_looks.get(condition.text)
        if harmless is None:
            harmless = self._only_looks[condition.text] = only_looks(condition.code)
        if harmless:
            return condition.value(names)
        with randomness.kept(self._device):
            return condition.value(_Copies(names))


class _Copies(Mapping[str, object]):
    """Names whose tensors may be written to."""

    def __init__(self, names: PlaceNames) -> None:
        self._names = names

    def __getitem__(self, name: str) -> object:
        value = self._names[name]
        return value.detach().clone() if isinstance(value, Tensor) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _going_on(candidate: Candidate) -> list[int]:
    generation = candidate.generation
    if generation.unfinished is None:
        return list(range(generation.sequences))
    return [i for i, goes_on in enumerate(generation.unfinished.tolist()) if goes_on]


_HARMLESS = """
count cpu endswith eps escape fabs find findall finditer finfo fullmatch get group groups iinfo index item items join
keys kurtosis lower lstrip match median nonzero quantile replace rstrip search smallest_normal span startswith strip
tiny title to tolist unflatten unique upper DOTALL IGNORECASE MULTILINE
"""
"""Attributes that neither write into a tensor nor draw at random."""

_ALLOWED = frozenset([*_HARMLESS.split(), *COMPUTED, *BUILTINS, *LIBRARIES])


def only_looks(code: CodeType) -> bool:
    """Whether an expression certainly leaves alone what it sees, and draws nothing at random."""
    used = {name for name in code.co_names if name not in _ALLOWED and not name.startswith(".")}
    constants = [c for constant in code.co_consts for c in (constant if isinstance(constant, tuple) else (constant,))]
    if used or "out" in constants:
        return False
    return all(only_looks(inner) for inner in code.co_consts if isinstance(inner, CodeType))
