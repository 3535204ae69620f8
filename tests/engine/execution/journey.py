"""Runs that go forth and back under the debugger, every stop held against a straight run."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import set_seed

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import Breakpoint
from dap_server.engine.execution.calls.decoding import own_decoding
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.engine.execution.travel import NoWay, Traveller
from dap_server.engine.execution.whole_call import WholeCall
from dap_server.modelmap.places import END, LOGITS, SAMPLE, STEP, Phase, Place
from tests.engine.execution.capturing import CaptureProbe
from tests.engine.execution.straight import SEED, Ask, Straight, cloned, returned, run_straight, same, state_of

Move = Motion | Place | str
"""How to go on from a stop: a motion, a place to run to, or the name of one of Traveller's ways back."""

Guide = Callable[["Journey", Stop], Move]


class Journey:
    """One `generate` call under the debugger. What disagrees with the straight run fails at once."""

    def __init__(self, model: Any, straight: Straight, guide: Guide) -> None:
        self.model, self.straight = model, straight
        self.anatomy = Anatomy(model)
        self.stepper = Stepper(self.anatomy, self._stopped)
        self.heard: list[Tensor] = []
        self.places: list[Place] = []
        self.forwards = 0
        self.guide = guide
        self._error: BaseException | None = None
        self._heading: Place | None = None
        self._order = {place: i for i, place in enumerate(straight.seen)}

    def generate(self, ask: Ask) -> Any:
        options = ask()
        counter = self.model.register_forward_pre_hook(self._count)
        set_seed(SEED)
        generation = Generation()
        call = WholeCall(
            self.stepper, generation, self.model.device, lambda: self.model.generate(**options), counts=False
        )
        try:
            with own_decoding(self.stepper, self):
                return self.run(generation, call.run)
        finally:
            counter.remove()

    def run(self, generation: Generation, call: Callable[[], Any]) -> Any:
        """A call under the debugger; what failed at a stop fails here."""
        self.stepper.begin(generation)
        try:
            return call()
        finally:
            self.stepper.end()
            self.stepper.release()
            if self._error is not None:
                raise self._error

    def break_at(self, *places: tuple[str, Phase]) -> None:
        """Breakpoints at modules and pseudo-modules, in place of all others."""
        breakpoints = []
        for i, (path, phase) in enumerate(places, start=1):
            is_module = path in self.anatomy.modules
            paths, pseudo = ([path], None) if is_module else ([], path)
            breakpoints.append(Breakpoint(i, path, phase, paths, pseudo))
        self.stepper.set_breakpoints(breakpoints)

    def break_everywhere(self) -> None:
        paths = {place.path for place in self.straight.seen}
        phases: tuple[Phase, ...] = ("before", "after")
        self.break_at(*[(path, phase) for path in [*paths, LOGITS, SAMPLE] for phase in phases])

    def look(self, stop: Stop, *wanted: Place) -> None:
        """Looks at module calls of one step, and holds them against the straight run."""
        assert stop.generation.tape is not None
        probe = CaptureProbe({(place.path, place.occurrence) for place in wanted})
        stop.generation.tape.replay(wanted[0].step, probe)
        for place in wanted:
            found = probe.found[place.path, place.occurrence]
            self._hold(place._replace(phase="before"), (found.args, found.kwargs))
            self._hold(place._replace(phase="after"), found.output)

    def choice(self, stop: Stop, step: int) -> None:
        """Looks at the choice of a step's token, and holds it against the straight run."""
        assert stop.generation.tape is not None
        selection = stop.generation.tape.replay(step)
        assert selection is not None
        assert selection.tokens is not None
        assert same(selection.tokens, self.straight.tokens[step]), f"token of step {step}, looked at from {stop.place}"

    def everything(self, stop: Stop) -> Any:
        """All that a look at the past must leave alone."""
        tape: Any = stop.generation.tape
        modules = list(self.model.modules())
        return [
            [torch.get_rng_state(), list(random.getstate()[1]), str(np.random.get_state())],
            state_of(tape.model_kwargs),
            [state_of({k: v for k, v in vars(module).items() if k not in OWN}, 2) for module in modules],
            [cloned(dict(module._buffers)) for module in modules],
            [[list(module._forward_hooks), list(module._forward_pre_hooks)] for module in modules],
            [state_of(other) for other in [*tape.logits_processor, *tape.stopping_criteria]],
            state_of(tape.collected, 3),
            [tape.input_ids, tape.unfinished, stop.generation.step, len(stop.generation.records)],
        ]

    def token(self, tokens: Tensor) -> None:
        self.heard.append(tokens)

    def finished(self, generation: Generation) -> None:
        generation.is_over = True
        self.stepper.at_end()

    def _count(self, *_: object) -> None:
        self.forwards += 1

    def _stopped(self, stop: Stop) -> None:
        try:
            self.places.append(stop.place)
            assert self._heading in (None, stop.place), f"went to {self._heading}, came to {stop.place}"
            self._heading = None
            self.check(stop)
            self._go(stop, self.move(stop))
        except BaseException as error:
            self._error = error
            self.stepper.release()

    def move(self, stop: Stop) -> Move:
        return Motion.RUN if self.is_before_steps(stop) else self.guide(self, stop)

    def is_before_steps(self, stop: Stop) -> bool:
        """Whether it is in an encoder that `generate` runs before the steps of our loop."""
        return bool(self.straight.before) and not stop.generation.is_own_loop

    def _go(self, stop: Stop, move: Move) -> None:
        if isinstance(move, Motion):
            self.stepper.resume(move)
        elif isinstance(move, Place):
            self._travel(move, "goto")
        else:
            try:
                destination = getattr(Traveller(self.stepper, stop), move)()
            except NoWay:
                assert stop.place.step == 0
                self.stepper.resume(Motion.NEXT)
            else:
                self._check_way_back(stop.place, destination.place, move)
                self._travel(*destination)

    def _travel(self, place: Place, reason: str, ordinal: int = 0) -> None:
        self._heading = place
        self.stepper.travel(place, reason, ordinal)

    def _check_way_back(self, here: Place, there: Place, move: str) -> None:
        """Holds the end of a way back against the order of the straight run, where both ends are module calls."""
        if here not in self._order or there not in self._order:
            return
        between = list(self._order)[self._order[there] + 1 : self._order[here]]
        assert self._order[there] < self._order[here]
        if move == "back_in":
            assert not between
        elif move == "last_hit":
            module_hits = [p for p in between if self._has_breakpoint(p)]
            assert not module_hits
            assert self._has_breakpoint(there) or there.step == 0

    def _has_breakpoint(self, place: Place) -> bool:
        return bool(self.stepper.breakpoints.everywhere.at_module(self.anatomy.modules[place.path], place.phase))

    def check(self, stop: Stop) -> None:
        """Holds what can be seen at a stop against the straight run."""
        place, selection = stop.place, stop.generation.selection
        if place.operation:
            assert stop.operation is not None
            assert stop.operation.full_name == place.operation
        elif place.path in self.anatomy.modules:
            live = stop.activations[0]
            seen = self.straight.before if self.is_before_steps(stop) else self.straight.seen
            self._hold(place, (live.args, live.kwargs) if place.phase == "before" else stop.output, seen)
        elif place.path == SAMPLE and place.phase == "after":
            assert selection is not None
            assert same(selection.tokens, self.straight.tokens[place.step]), str(place)
        elif place.path in (STEP, END) and stop.generation.input_ids is not None:
            made = self.straight.tokens[: place.step + (place.path == END)]
            ids = stop.generation.input_ids
            assert ids.shape[1] == stop.generation.prompt_length + len(made)
            assert all(same(ids[:, stop.generation.prompt_length + i], tokens) for i, tokens in enumerate(made))

    def _hold(self, place: Place, value: Any, seen: dict[Place, Any] | None = None) -> None:
        seen = self.straight.seen if seen is None else seen
        assert place in seen, f"{place} is not passed by the straight run"
        assert same(cloned(value), seen[place]), f"{place} differs from the straight run"


OWN = frozenset(vars(nn.Module()))
"""Attributes of every module: hooks, and the dictionaries of parameters and submodules."""


class ThereAndBack:
    """Runs to the end, goes back step by step and looks at the past on the way, and runs to the end again.

    The first way and the last one stop at every place. Every look is held against the straight run and has to leave
    everything as it was.
    """

    def __init__(self, straight: Straight) -> None:
        self._back = list(range(straight.steps - 1, -1, -1))
        self._draw = random.Random(straight.steps)
        self._is_at_end = False
        self.looks = 0

    def __call__(self, journey: Journey, stop: Stop) -> Move:
        if not self._is_at_end:
            self._is_at_end = stop.place.path == END
            if not self._is_at_end:
                return self._on_the_way(journey, stop)
            journey.break_at()
        if self._back:
            self.look_around(journey, stop)
            step = self._back.pop(0)
            if not self._back:
                journey.break_everywhere()
            return Place(step, STEP)
        return Motion.RUN

    def _on_the_way(self, journey: Journey, stop: Stop) -> Move:
        """Looks now and then in the middle of a forward."""
        if self._draw.random() < 0.006:
            self.look_around(journey, stop)
        return Motion.RUN

    def look_around(self, journey: Journey, stop: Stop) -> None:
        before = journey.everything(stop)
        for step in {self._draw.randint(0, stop.place.step), self._draw.choice([0, stop.place.step])}:
            modules = journey.straight.modules_of(step)
            journey.look(stop, *self._draw.sample(modules, min(4, len(modules))))
            self.looks += 1
        journey.choice(stop, step)
        assert same(journey.everything(stop), before), f"looking from {stop.place} changed something"


def there_and_back(model: Any, ask: Ask, guide: Callable[[Straight], ThereAndBack] = ThereAndBack) -> Journey:
    """A journey with that guide, which has to end as a straight run does: same tokens, tensors, random state."""
    straight = run_straight(model, ask)
    journey = Journey(model, straight, guide(straight))
    journey.break_everywhere()
    actual = journey.generate(ask)
    assert same(returned(actual), returned(straight.result))
    assert same(journey.heard, straight.tokens)
    assert same(torch.get_rng_state(), straight.random)
    return journey
