"""The names of conditions at a stop, for the console: the same values, with attention and lens by a replay."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dap_server.conditions.names import NAMES, PlaceKind
from dap_server.engine.analysis.answers import Answers
from dap_server.engine.analysis.attention.passing import last_row
from dap_server.engine.analysis.attention.rows import calls_in
from dap_server.engine.analysis.conditions.names import PlaceNames, Sources
from dap_server.engine.analysis.conditions.saying import PassingLens
from dap_server.engine.analysis.lens.reader import LensReader, Question
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.stops import NOTHING
from dap_server.engine.inspection.frames import Frame
from dap_server.modelmap.places import LOGITS, SAMPLE, STEP

SELECTION: dict[str, PlaceKind] = {STEP: "step", LOGITS: "logits", SAMPLE: "sample"}


class StopNames(PlaceNames):
    """The names of one frame of a stop: as far as it has them."""

    def __init__(self, frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        stop = frame.stop
        is_here = frame.is_top or (frame.activation is None and frame.kind in ("selection", "call"))
        place = stop.place._replace(step=frame.step, path=stop.place.path if frame.path is None else frame.path)
        if not is_here:
            place = place._replace(phase="after" if frame.is_past else "before")
        candidate = Candidate(
            place,
            stop.generation,
            None if frame.activation is None else frame.activation.frame,
            stop.output if is_here else NOTHING,
            stop.operation if frame.kind == "operation" else None,
        )
        answers = Answers(anatomy, vocabulary)
        super().__init__(candidate, frame.sequence, Sources(anatomy, vocabulary, PassingLens(anatomy, answers)))
        self._frame, self._answers = frame, answers

    @property
    def offered(self) -> list[str]:
        """The names that may have a value here."""
        place, frame = self._candidate.place, self._frame
        kind: PlaceKind = "module" if frame.path is not None else SELECTION.get(place.path, "processor")
        kind = "operation" if frame.kind == "operation" else kind
        return [name for name, known in NAMES.items() if kind in known.where and name in self]

    def _attention(self) -> Callable[[int], Tensor]:
        frame, path = self._frame, self._frame.path
        if path is None:
            raise NotKnown("attention is known at modules")
        sequences = frame.stop.generation.sequences
        return lambda head: last_row(
            calls_in(frame, path, self._sources.anatomy), path, head, frame.sequence, sequences
        )

    def _lens_texts(self) -> Callable[[int], list[str]]:
        frame, path = self._frame, self._frame.path or ""
        layer = self._sources.anatomy.layer_of(path)
        if path not in self._sources.anatomy.layer_paths or layer is None or frame.stop.generation.tape is None:
            raise NotKnown("the lens reads the residual stream at layers")
        index = layer if self._candidate.place.phase == "after" else layer - 1

        def texts(k: int) -> list[str]:
            reader = LensReader(frame.stop.generation, frame.step, frame.sequence, self._sources.anatomy)
            column = reader.read(Question(layers=[index], top=k, watch=())).columns[-1]
            return [self._answers.text(one.id) for one in column.said[0].top]

        return texts
