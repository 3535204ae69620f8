"""What several analyses ask of a frame: whether and how its step runs again, what it says, how ids are called."""

from __future__ import annotations

from collections.abc import Callable

from dap_server.engine.analysis.lens.residuals import CannotRead
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.generation import Tape
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.variables import Row
from dap_server.protocol.errors import RequestError


class Answers:
    """Names for what a model of some vocabulary, or with some labels, can say."""

    def __init__(self, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        config = getattr(anatomy.model, "config", None)
        self._vocabulary = vocabulary
        self._labels: dict[int, str] = dict(getattr(config, "id2label", None) or {})
        self._is_classifier = "Classification" in type(anatomy.model).__name__

    def text(self, id: int) -> str:
        """Of a token, or the label of a classifier."""
        return self._labels.get(id, str(id)) if self._is_classifier else self._vocabulary.text(id)

    def quoted(self, id: int) -> str:
        """`' Paris'`."""
        return repr(self.text(id))

    def find(self, wanted: int | str, size: int | None = None) -> int:
        """The id of a token or label, one of `size` if that is known. Raises UnknownToken."""
        if self._is_classifier and isinstance(wanted, str):
            named = {label: id for id, label in self._labels.items()}
            wanted = named.get(wanted.strip("'\""), wanted)
        return self._vocabulary.find(wanted, size)


def is_about_layers(frame: Frame, anatomy: Anatomy) -> bool:
    """Whether a frame is a layer's, the whole model's or a step's, and can run again."""
    if frame.stop.generation.tape is None or not anatomy.layer_paths:
        return False
    is_layer = frame.kind in ("module", "past layer") and frame.path in anatomy.layer_paths
    is_model = frame.kind == "module" and frame.path == ""
    return is_layer or is_model or frame.is_step


def explained(make: Callable[[], list[Row]], *errors: type[RequestError]) -> Callable[[], list[Row]]:
    """Makes rows; where one of these errors says that there is nothing to show, one with the reason."""

    def rows() -> list[Row]:
        try:
            return make()
        except errors as error:
            return [Row("none", str(error))]

    return rows


def tape_of(frame: Frame) -> Tape:
    """What runs the frame's step again. Raises CannotRead where nothing does."""
    tape = frame.stop.generation.tape
    if tape is None:
        raise CannotRead("there is no call of the model here that could run again")
    return tape


def chosen_token(frame: Frame) -> int | None:
    """The token that the frame's step has chosen or will choose; None while that is not known."""
    generation = frame.stop.generation
    if frame.step < len(generation.records):
        return int(generation.records[frame.step].tokens[frame.sequence])
    tokens = generation.next_tokens() if frame.step == generation.step else None
    return None if tokens is None else int(tokens[frame.sequence])
