"""One debug session on one model, as a person would have it, every stop of it held against a run without debugger.

The model is stopped before every layer, looked at from top to bottom, stepped over, into and out of, and back; it runs
to its end, goes back to its first step, and runs to its end again.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.analysis.attribution.direct import attribution
from dap_server.engine.analysis.scopes import analysis_scopes
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stop
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.scopes import Scope, Scopes
from dap_server.engine.inspection.variables import Children, Row
from dap_server.modelmap.places import END, Place
from dap_server.protocol.errors import RequestError
from tests.engine.execution.journey import Journey, Move
from tests.engine.execution.straight import Straight, returned, run_straight, run_straight_by_calls, same
from tests.models.attention import differences_in_step

STEPS = 4
"""Tokens that a session generates: after a dozen of the prompt, windows and chunks of 8 have wrapped."""

Turns = Generator[Move, Stop, None]


@dataclass
class Found:
    """What a session found out.

    Attributes:
        stacks: how many layers each stack has, and `idle` how many of them text does not come by.
        calls: of attention, in the steps that were looked at.
        sources: how they were heard of.
        attention: the largest error of their weights.
        attributed: the largest difference between a logit and the sum of its parts; None if it is no such sum.
        why_not: the reason then.
        replayed: how many outputs of modules were made again, all bit for bit the same.
        refused: what scopes that were opened could not be worked out, and why.
        rows: how many rows were looked at.
        unreadable: rows that show an error instead of a value.
    """

    stacks: list[int]
    idle: int = 0
    calls: int = 0
    sources: set[str] = field(default_factory=set)
    attention: float = 0.0
    attributed: float | None = None
    why_not: str = ""
    replayed: int = 0
    refused: set[str] = field(default_factory=set)
    rows: int = 0
    unreadable: list[str] = field(default_factory=list)


class Session(Journey):
    """A session on one call: of `generate`, or of the model itself where it does not generate."""

    def __init__(self, model: Any, inputs: dict[str, Any], generates: bool) -> None:
        self.inputs, self.generates = inputs, generates
        self.model = model
        self.plain()  # some models settle in their first run
        super().__init__(model, self.plain(), lambda _journey, _stop: Motion.RUN)
        self.found = Found([len(stack) for stack in self.anatomy.stacks])
        self.scopes = Scopes(self.anatomy, Vocabulary(None))
        self.is_finished = False
        self._turns = self._script()
        next(self._turns)

    def plain(self) -> Straight:
        """The call without a debugger."""
        return (
            run_straight(self.model, self._asked) if self.generates else run_straight_by_calls(self.model, self._call)
        )

    def result(self) -> Any:
        """What the call gives under the debugger."""
        if self.generates:
            return self.generate(self._asked)
        ids = self.inputs.get("input_ids")
        generation = Generation(input_ids=ids, prompt_length=0 if ids is None else ids.shape[1], is_forward=True)
        call = WholeCall(self.stepper, generation, torch.device("cpu"), self._call, lambda _: self.finished(generation))
        return self.run(generation, call.run)

    @property
    def repeats_itself(self) -> bool:
        """Whether the call without a debugger does."""
        again = self.plain()
        return same(returned(again.result), returned(self.straight.result)) and same(again.seen, self.straight.seen)

    @property
    def half_called(self) -> list[str]:
        """Layers that the call does not come by, though it does by others of their stack."""
        called = {place.path for seen in (self.straight.before, self.straight.seen) for place in seen}
        idle = [[path for path in stack if path not in called] for stack in self.anatomy.stacks]
        self.found.idle = sum(map(len, idle))  # of a tower for images or sound
        return [path for stack, left in zip(self.anatomy.stacks, idle, strict=True) if left != stack for path in left]

    @property
    def is_alike(self) -> bool:
        """Whether the call makes the same under the debugger, to the last bit."""
        return same(returned(self.result()), returned(self.straight.result))

    def _asked(self) -> dict[str, Any]:
        options = {"max_new_tokens": STEPS, "disable_compile": True, "eos_token_id": None, "do_sample": False}
        return {**self._given(), **options, "return_dict_in_generate": True, "output_logits": True}

    @torch.no_grad()
    def _call(self) -> Any:
        logits: Tensor = self.model(**self._given(), return_dict=True).logits
        return logits

    def _given(self) -> dict[str, Any]:
        return {name: value.clone() if isinstance(value, Tensor) else value for name, value in self.inputs.items()}

    # --- the script

    def move(self, stop: Stop) -> Move:
        return self._turns.send(stop)

    def _script(self) -> Turns:
        places = [place for seen in (self.straight.before, self.straight.seen) for place in seen]
        layers = [place for place in places if self._is_layer(place)]
        self.break_at(*[(path, "before") for path in {place.path for place in layers}])
        stop: Stop = yield Motion.RUN  # taken by the first stop
        for layer in layers:
            assert stop.place == layer, f"stopped {stop.place}, not {layer}"
            if layer == layers[0]:
                self._compare_attention(stop, 0)  # of an encoder too, while it is there
                stop = yield from self._around(stop)
            stop = yield Motion.RUN
        self.break_at()
        while stop.place.path != END:
            stop = yield Motion.RUN
        yield from self._from_the_end(stop)

    def _is_layer(self, place: Place) -> bool:
        return place.step == 0 and place.phase == "before" and place.path in self.anatomy.layer_paths

    def _around(self, stop: Stop) -> Generator[Move, Stop, Stop]:
        """From the first layer into it, over it, out of what is around it, and back each time. Gives the stop there."""
        self._look_at_everything(stop)
        layer = stop.place
        stop = yield Motion.IN
        stop = yield from self._back(stop, "back_in", layer)
        stop = yield Motion.NEXT
        self._look_at_everything(stop)
        if stop.place.phase == "before":  # else it was the last one, and this is the end of what is around it
            stop = yield from self._back(stop, "back", layer)
        stop = yield layer
        stop = yield Motion.IN
        stop = yield Motion.OUT
        assert stop.place.step == 0
        stop = yield layer
        assert stop.place == layer
        return stop

    def _back(self, stop: Stop, way: str, to: Place) -> Generator[Move, Stop, Stop]:
        """From a place soon after another one, which was left by one motion, back to it."""
        assert stop.place != to
        for _ in range(4):
            stop = yield way
            if stop.place == to:
                return stop
        raise AssertionError(f"{way} came to {stop.place}, not {to}")

    def _from_the_end(self, stop: Stop) -> Turns:
        self._look_at_everything(stop)
        last = stop.place.step
        for step in sorted({0, last}):
            modules = self.straight.modules_of(step)
            self.look(stop, *modules)
            self.found.replayed += len(modules)
            self._compare_attention(stop, step)
        self._attribute(stop)
        stop = yield "back"
        self._look_at_everything(stop)
        while stop.place.path != END:
            stop = yield Motion.RUN
        self.is_finished = True
        yield Motion.RUN

    # --- what is looked at

    def _look_at_everything(self, stop: Stop) -> None:
        vocabulary = Vocabulary(None)
        stack = CallStack(stop, self.stepper, vocabulary, 0)
        frames = [*stack.page(0, 4), *stack.page(max(len(stack) - 4, 4), None)]
        for frame in frames:
            for scope in [*self.scopes.of(frame), *analysis_scopes(frame, self.anatomy, vocabulary)]:
                self._open(scope, frame.name)

    def _open(self, scope: Scope, where: str) -> None:
        try:
            for row in _rows(scope.children, 2):
                self.found.rows += 1
                if re.match(r"<\w+(Error|Exception)\b", row.value):
                    self.found.unreadable.append(f"{where}: {scope.name}: {row.name}: {row.value}")
        except RequestError as error:  # which a client is told
            self.found.refused.add(f"{scope.name}: {str(error)[:200]}")

    def _compare_attention(self, stop: Stop, step: int) -> None:
        """Holds the weights of every call of attention in a step against other calculations of them."""
        assert stop.generation.tape is not None
        calls, sources, largest = differences_in_step(stop.generation.tape, step, self.anatomy)
        self.found.calls += calls
        self.found.sources.update(sources)
        self.found.attention = max(self.found.attention, largest)

    def _attribute(self, stop: Stop) -> None:
        """Holds the logit of the last token against the sum of what the parts of the model added to it."""
        assert stop.generation.tape is not None
        try:
            parts = attribution(stop.generation.tape, stop.place.step, self.anatomy, 0)
        except RequestError as error:
            self.found.why_not = str(error)
        else:
            self.found.attributed = abs(parts.remainder) / max(1.0, abs(parts.logit))


def _rows(children: Children, depth: int) -> Iterator[Row]:
    for row in [*children.named_rows(), *(children.indexed_rows(0, 5) if children.indexed else [])]:
        yield row
        if depth > 1 and row.children:
            yield from _rows(row.children, depth - 1)
