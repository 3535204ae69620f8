"""What to tell of an anomaly that has stopped a run: one line to act on, and the way back to what made it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dap_server.engine.analysis.anomalies.describing import describe
from dap_server.engine.analysis.anomalies.non_finite import anomalous
from dap_server.engine.analysis.anomalies.origin import Origin, OriginProbe, of_parameters
from dap_server.engine.analysis.anomalies.passing import Passing
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.stops import Anomaly, Stop
from dap_server.engine.inspection.tensors.statistics import Statistics, statistics
from dap_server.engine.inspection.tensors.text import dtype_name
from dap_server.engine.inspection.tracebacks import described
from dap_server.modelmap.places import SAMPLE


@dataclass(frozen=True)
class Explanation:
    """An anomaly in words.

    Attributes:
        id: of the filter, or the class of an exception.
        text: one line.
        origins: the way back, nearest first.
        trace: Python's, of an exception.
    """

    id: str
    label: str
    text: str
    origins: list[Origin] = field(default_factory=list)
    trace: str | None = None


class Explainer:
    """Explains the anomalies of one model. On the model thread: the way back runs a step again."""

    def __init__(self, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        self._anatomy, self._vocabulary = anatomy, vocabulary
        self._known: tuple[Stop, Explanation] | None = None

    def explain(self, stop: Stop) -> Explanation:
        """Of a stop at an anomaly; worked out once."""
        if self._known is None or self._known[0] is not stop:
            assert stop.anomaly is not None
            self._known = (stop, self._explain(stop, stop.anomaly))
        return self._known[1]

    def _explain(self, stop: Stop, anomaly: Anomaly) -> Explanation:
        filter, candidate = anomaly.breakpoint.filter, anomaly.candidate
        assert filter is not None
        if stop.error is not None:
            error = stop.error
            text = f"{type(error).__name__} in {self._named(candidate)} in step {candidate.place.step}: {error}"
            return Explanation(type(error).__name__, filter.label, text, [], described(error).trace)
        if filter.id == "nonFinite":
            origins = self._way_back(stop, candidate)
            because = origins[0].text if origins else "what it was given is finite"
            return Explanation(filter.id, filter.label, f"{self._non_finite(candidate)}. {because}", origins)
        text = describe(filter.id, Passing(candidate, stop.sequence, self._anatomy), self._vocabulary)
        return Explanation(filter.id, filter.label, text)

    def _named(self, candidate: Candidate) -> str:
        path = candidate.place.path
        module = self._anatomy.modules.get(path)
        return path if module is None else f"{self._anatomy.name_of(path)} ({type(module).__name__})"

    def _non_finite(self, candidate: Candidate) -> str:
        """What is not finite, how much of it, where first, and at which token."""
        step = f"in step {candidate.place.step}"
        if candidate.place.path == SAMPLE:
            return f"there is nothing to draw the token from {step}: its probabilities are NaN"
        tensor = anomalous(candidate)[0]
        found = statistics(tensor)
        index = list(found.first_non_finite or ())
        where = f"first at {index}{self._token(candidate, index, tensor.shape)}"
        of = f"{found.non_finite:,} of {found.count:,} values of {dtype_name(tensor.dtype)}"
        return f"{kinds_of(found)} in what {self._named(candidate)} returns {step}: {of}, {where}"

    def _token(self, candidate: Candidate, index: list[int], shape: tuple[int, ...]) -> str:
        """The token of a position, where the tensor has rows for those of this step: (B, T, …)."""
        generation = candidate.generation
        ids = generation.input_ids
        if ids is None or len(index) < 3 or index[0] >= ids.shape[0]:
            return ""
        read = ids if candidate.place.step == 0 else ids[:, -1:]
        if shape[1] != read.shape[1]:
            return ""
        return f" (token {self._vocabulary.quoted(int(read[index[0], index[1]]))})"

    def _way_back(self, stop: Stop, candidate: Candidate) -> list[Origin]:
        """To a parameter that is damaged, to the operation, and to what that was given."""
        module = self._anatomy.modules.get(candidate.place.path)
        if module is None:
            return [Origin("operation", "a logits processor, or the scores themselves, left nothing to choose from")]
        origins = of_parameters(module, candidate.place.path)
        tape = stop.generation.tape
        if tape is not None:
            probe = OriginProbe(candidate.place)
            try:
                tape.replay(candidate.place.step, probe)
            finally:
                probe.close()
            origins.extend(probe.origins)
        return origins


def kinds_of(found: Statistics) -> str:
    """`NaN`, `Infinity`, or both."""
    infinite = found.non_finite - found.nan
    return " and ".join([*["NaN"] * bool(found.nan), *["Infinity"] * bool(infinite)])
