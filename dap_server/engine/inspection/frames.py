"""The call stack of a stopped model, top down, in pages.

    the Python frame that holds the stop, when it is one by lines
    an operation, when the stop is at one
    modules by nesting, each followed by its Python `forward`; what the user's code calls between them stands above
    a place of token selection; a logits processor is followed by its Python `__call__`
    the generation step
    the user's Python frames, down to the one that began
    ── history ──                 a label; everything below has happened
    earlier layers of this step, earlier steps, the prompt

Outside of the calls of a model there are Python frames only. Describing a frame never runs the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import FrameType
from typing import Any, Literal

from dap_server.engine.anatomy.map_in_use import MapInUse, MapPoint
from dap_server.engine.anatomy.modules import Anatomy, SourceLine, source_of_class, source_of_function
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.activations import Activation, running_processor
from dap_server.engine.execution.final_locals import code_of, return_line
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.operations import Operation
from dap_server.engine.execution.stepping import Stepper, Stop
from dap_server.engine.inspection.disassembly import caller_source
from dap_server.engine.inspection.python_frames import PythonFrame, PythonFrames, in_call, is_by_line
from dap_server.modelmap.places import END, SAMPLE, STEP
from dap_server.protocol.errors import RequestError

Kind = Literal[
    "operation",
    "module",
    "forward",
    "python",
    "selection",
    "call",
    "step",
    "label",
    "past layer",
    "past step",
    "prompt",
]


@dataclass
class Frame:
    """One frame, described. What can be seen in it is made by `scopes`.

    Attributes:
        path: of the module, for module and layer frames.
        activation: the running call, for module and forward frames.
        step: that the frame belongs to.
        sequence: index in the batch that the frame is shown for.
        processor: the logits processor, for frames of one.
        running: the Python frame of its `__call__`, when it has called the model; of a `python` frame, that itself.
        address: of the operation, or of the beginning or end of a module, that it stands at; 0 outside of the model.
        point: where it stands in the model map; None for Python frames, and without a map.
        is_library: whether a Python frame runs code that is not the user's own.
        is_elsewhere: whether it is one of a thread that runs just now.
    """

    kind: Kind
    name: str
    source: SourceLine | None
    stop: Stop
    step: int
    sequence: int
    path: str | None = None
    activation: Activation | None = None
    processor: Any = None
    running: FrameType | None = None
    address: int = 0
    point: MapPoint | None = None
    is_library: bool = False
    is_elsewhere: bool = False

    @property
    def is_top(self) -> bool:
        return self.activation is not None and self.activation is self.stop.activations[0]

    @property
    def is_step(self) -> bool:
        """Whether it is about a whole step: running, at the choice of its token, or over."""
        return self.kind in ("step", "selection", "past step")

    @property
    def is_past(self) -> bool:
        return self.kind in ("past layer", "past step", "prompt")

    @property
    def is_subtle(self) -> bool:
        """Whether it stands back behind the others."""
        return self.is_past or self.is_library


class NoSuchStep(RequestError):
    """The run has not come to that step; the text says how far it is."""

    id = 55


def frame_of_step(frame: Frame, step: int | None) -> Frame:
    """The frame of a step of the same sequence; the frame itself when it is of that step, or None is asked for.

    Raises:
        NoSuchStep: the run has not come there yet.
    """
    generation = frame.stop.generation
    if step is None or (step == frame.step and frame.kind != "prompt"):
        return frame
    present = frame.stop.place.step
    if step > present:
        raise NoSuchStep(f"no step {step}: the run stands at step {present}")
    is_past = step < present or (frame.stop.place.path == END and step < len(generation.records))
    kind: Kind = "past step" if is_past else "step"
    return Frame(kind, f"step {step}", frame.source, frame.stop, step, frame.sequence)


class CallStack:
    """All frames of one sequence at one stop."""

    def __init__(
        self,
        stop: Stop,
        stepper: Stepper,
        vocabulary: Vocabulary,
        sequence: int,
        map: MapInUse | None = None,
        just_my_code: bool = True,
    ) -> None:
        """`just_my_code`: Python frames of libraries step back behind the user's."""
        self._stop, self._anatomy, self._vocabulary, self._sequence = stop, stepper.anatomy, vocabulary, sequence
        self._regions = stepper.regions
        self._map = map
        self._python = PythonFrames(stop, just_my_code)

    def page(self, start: int, count: int | None) -> list[Frame]:
        """Frames `start` … `start + count - 1`; all the rest when `count` is None."""
        end = len(self) if count is None else min(start + count, len(self))
        frames = [self._frame(i) for i in range(start, end)]
        if self._map is not None:
            for frame in frames:
                frame.point = self._point(frame, self._map)
        return frames

    def _point(self, frame: Frame, map: MapInUse) -> MapPoint | None:
        """A module that has run is pointed at behind its line, one that runs at its beginning."""
        place = self._stop.place
        match frame.kind:
            case "module":
                is_there = frame.is_top and self._stop.operation is None
                return map.point(frame.path or "", place.phase if is_there else "before")
            case "past layer":
                return map.point(frame.path or "", "after")
            case "selection":
                name = type(frame.processor).__name__ if frame.processor is not None else place.path
                return map.point(name, "before" if self._stop.activations else place.phase)
            case "step" if self._is_at_end:
                return map.point(SAMPLE, "after") or map.point("", "after")
            case "step" | "past step" | "prompt":
                return map.point(STEP) or map.point("")
        return None

    def __len__(self) -> int:
        if not in_call(self._stop):
            return len(self._running)
        has_prompt = self._stop.generation.input_ids is not None
        return len(self._running) + 1 + len(self._past_layers) + self._past_steps + has_prompt

    @cached_property
    def _running(self) -> list[Frame]:
        stop = self._stop
        frames = self._misspelt()
        address = self._address
        if stop.operation is not None:
            frames.append(self._operation_frame(stop.operation))
        for activation, helpers in zip(stop.activations, self._python.helpers, strict=True):
            frames.extend(self._python_frame(one) for one in helpers)
            path = self._anatomy.path_of(activation.module)
            if path is None:
                continue
            frames.extend(self._called(path, activation))
            for frame in frames:
                frame.address = frame.address or address
            address = self._regions.address(path, "before")  # what called it stands at the call
        frames.extend(self._python_frame(one) for one in self._python.on_top)
        if in_call(stop):
            frames.extend(self._selection_frames(stop))
            frames.append(self._make("step", self._step_name(stop), self._model_source))
        frames.extend(self._python_frame(one) for one in self._python.below)
        return frames or [self._make("label", "no Python frame", None)]

    def _misspelt(self) -> list[Frame]:
        """The line that is no Python: nothing of it runs, so there is no frame of it."""
        error = None if self._stop.uncaught is None else self._stop.uncaught.error
        if not isinstance(error, SyntaxError) or not error.filename or not error.lineno:
            return []
        return [self._make("python", "<module>", SourceLine(error.filename, error.lineno))]

    def _called(self, path: str, activation: Activation) -> list[Frame]:
        """A running module and its `forward`, which comes first where it is what holds the stop."""
        module = self._module_frame(path, activation)
        forward, is_top = activation.forward, activation is self._stop.activations[0]
        if forward is None and (not is_top or is_by_line(self._stop)):
            return [module]
        frame = self._forward_frame(activation)
        holds = forward is not None and self._python.holds(forward)
        return [frame, module] if holds else [module, frame]

    def _python_frame(self, one: PythonFrame) -> Frame:
        frame = self._make("python", one.name, one.source)
        frame.running, frame.is_library = one.frame, self._python.is_library(one)
        return frame

    def _selection_frames(self, stop: Stop) -> list[Frame]:
        """Where in the choice of a token it is, also when a logits processor calls the model."""
        selection, place = stop.generation.selection, stop.place
        if stop.activations:
            found = running_processor(stop.activations[-1].frame) if selection is not None else None
            if found is None:
                return []
            processor, running = found
            return self._processor_frames(type(processor).__name__, processor, running)
        if place.path in (STEP, END):
            return []
        again = f", call {place.occurrence + 1}" if place.occurrence else ""
        name = f"{place.path} ({place.phase}{again})"
        if selection is None or selection.running is None:
            return [self._make("selection", name, self._model_source)]
        return self._processor_frames(name, selection.running, None)

    def _processor_frames(self, name: str, processor: Any, running: FrameType | None) -> list[Frame]:
        source = source_of_function(type(processor).__call__)
        here = source if running is None else SourceLine(running.f_code.co_filename, running.f_lineno)
        call = self._make("call", f"{type(processor).__name__}.__call__", here)
        frames = [self._make("selection", name, source), call]
        for frame in frames:
            frame.processor, frame.running = processor, running
        return frames

    @cached_property
    def _past_layers(self) -> list[str]:
        """Layers of this step that have run, nearest first."""
        stop = self._stop
        if stop.place.path == STEP or (self._is_at_end and not stop.generation.is_forward):
            return []
        if not stop.activations:
            return list(reversed(self._anatomy.layer_paths))
        return self._anatomy.earlier_layers(stop.place.path)

    @property
    def _past_steps(self) -> int:
        """Finished steps before the current one; at the end of a run the last one is among them."""
        generation = self._stop.generation
        return len(generation.records) if self._is_at_end else min(generation.step, len(generation.records))

    @property
    def _is_at_end(self) -> bool:
        return self._stop.place.path == END

    def _frame(self, index: int) -> Frame:
        running = self._running
        if index < len(running):
            return running[index]
        index -= len(running)
        if index == 0:
            return self._make("label", "history", None)
        index -= 1
        if index < len(self._past_layers):
            path = self._past_layers[index]
            source = source_of_class(type(self._anatomy.modules[path]))
            return self._make("past layer", f"{path} (done)", source, path=path)
        step = self._past_steps - 1 - (index - len(self._past_layers))
        if step >= 0:
            return self._past_step(step)
        return self._make("prompt", self._prompt_name(), self._model_source)

    @property
    def _address(self) -> int:
        """Where the stop stands in the listing; behind an operation it is still that one."""
        place, operation = self._stop.place, self._stop.operation
        if operation is not None:
            return operation.site.address
        return self._regions.address(place.path, place.phase) if place.path in self._anatomy.modules else 0

    def _operation_frame(self, operation: Operation) -> Frame:
        source, stop = caller_source(operation.caller), self._stop
        name = operation.full_name + (" (after)" if stop.place.phase == "after" else "")
        return self._make("operation", name, source, path=stop.place.path, activation=stop.activations[0])

    def _module_frame(self, path: str, activation: Activation) -> Frame:
        source = source_of_class(type(activation.module))
        stop = self._stop
        is_there = activation is stop.activations[0] and stop.operation is None and stop.python is None
        where = stop.place.phase if stop.error is None and stop.uncaught is None else "raised"
        phase = f" ({where})" if is_there else ""
        return self._make("module", f"{self._anatomy.name_of(path)}{phase}", source, path=path, activation=activation)

    def _forward_frame(self, activation: Activation) -> Frame:
        """The Python function, at the line that it is on; at its `def` before it began, at its `return` behind it.

        One with several of them stays at its `def`: which it was is known when its local names are looked at.
        """
        source = source_of_class(type(activation.module))
        if activation.forward is not None:
            line = self._python.line_of(activation.forward)
            source = SourceLine(activation.forward.f_code.co_filename, line)
        elif source is not None and self._stop.place.phase == "after" and (code := code_of(activation.module)):
            source = SourceLine(source.path, return_line(code) or source.line)
        name = f"{type(activation.module).__name__}.forward"
        return self._make("forward", name, source, path=self._anatomy.path_of(activation.module), activation=activation)

    def _past_step(self, step: int) -> Frame:
        record = self._stop.generation.records[step]
        token = self._vocabulary.quoted(int(record.tokens[self._sequence]))
        name = f"step {step}  {token}  {float(record.probability[self._sequence]):.1%}"
        return self._make("past step", name, self._model_source, step=step)

    def _prompt_name(self) -> str:
        ids = prompt_ids(self._stop, self._sequence)
        text = self._vocabulary.readable(ids)
        shown = text if len(text) <= 60 else f"…{text[-59:]}"
        return f"prompt  {shown!r}  {len(ids)} tokens"

    def _step_name(self, stop: Stop) -> str:
        if stop.generation.is_forward:
            return f"step {stop.place.step} ({'end of the forward pass' if self._is_at_end else 'forward pass'})"
        if self._is_at_end:
            return f"step {stop.place.step} (end of the generation)"
        return f"step {stop.place.step}" + (" (prefill)" if stop.place.step == 0 else "")

    @cached_property
    def _model_source(self) -> SourceLine | None:
        return source_of_class(type(self._anatomy.model))

    def _make(
        self,
        kind: Kind,
        name: str,
        source: SourceLine | None,
        step: int | None = None,
        path: str | None = None,
        activation: Activation | None = None,
    ) -> Frame:
        step = self._stop.place.step if step is None else step
        return Frame(kind, name, source, self._stop, step, self._sequence, path, activation)


def place_source(candidate: Candidate, anatomy: Anatomy) -> SourceLine | None:
    """The line of a place, as its frame would have it if the run stopped there."""
    if candidate.operation is not None:
        return caller_source(candidate.operation.caller)
    selection = candidate.generation.selection
    if candidate.call is None and selection is not None and selection.running is not None:
        return source_of_function(type(selection.running).__call__)
    return source_of_class(type(anatomy.modules.get(candidate.place.path, anatomy.model)))


def prompt_ids(stop: Stop, sequence: int) -> list[int]:
    """Token ids of one sequence's prompt, without padding."""
    generation = stop.generation.encoded or stop.generation
    if generation.input_ids is None:
        return []
    ids = generation.input_ids[sequence, : generation.prompt_length]
    mask = generation.attention_mask
    if mask is not None and mask.shape[1] >= ids.shape[0]:
        ids = ids[mask[sequence, : ids.shape[0]].bool()]
    return [int(i) for i in ids.tolist()]
