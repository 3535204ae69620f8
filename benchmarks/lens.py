"""The lens and the attribution of one step, against one forward of the model that makes a token."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks import ATLAS
from benchmarks.measure import Row, ms
from dap_server.engine.analysis.attribution.direct import attribution
from dap_server.engine.analysis.lens.reader import LensReader, Question
from dap_server.engine.anatomy.loading import Loaded, load
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import resolve
from dap_server.engine.execution.calls.decoding import own_decoding
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.modelmap.places import SAMPLE
from dap_server.protocol.launch import LaunchArguments

LENGTH = 200
"""Tokens of the prompt."""

TABLE = 50
"""Positions of a table that comes from one forward."""


class Looks:
    """Stops at the choice of the second token, and times looks from there."""

    def __init__(self, loaded: Loaded, repeats: int) -> None:
        self.loaded, self.repeats = loaded, repeats
        self.anatomy = Anatomy(loaded.model)
        self.times: dict[str, float] = {}
        self.stepper = Stepper(self.anatomy, self._stopped)
        self.stepper.set_breakpoints([resolve(1, SAMPLE, self.anatomy)])

    def run(self) -> None:
        prompt = torch.randint(10, 2000, (1, LENGTH), generator=torch.Generator().manual_seed(0))
        self.stepper.begin(Generation())
        with own_decoding(self.stepper, self):
            self.loaded.model.generate(prompt, max_new_tokens=2, min_new_tokens=2, disable_compile=True)

    def token(self, tokens: Tensor) -> None:
        pass

    def finished(self, generation: Generation) -> None:
        pass

    def _stopped(self, stop: Stop) -> None:
        if stop.place.step == 1:
            self._look(stop)
        self.stepper.resume(Motion.RUN)

    def _look(self, stop: Stop) -> None:
        generation, anatomy = stop.generation, self.anatomy
        tape, ids = generation.tape, generation.input_ids
        assert tape is not None
        assert ids is not None
        positions = range(ids.shape[1] - TABLE, ids.shape[1])

        def read(question: Question) -> None:
            LensReader(generation, 1, 0, anatomy).read(question)

        self._time("forward", lambda: tape.replay(1))
        self._time("lens", lambda: read(Question()))
        self._time("attribution", lambda: attribution(tape, 1, anatomy, 0))
        self._time("whole forward", lambda: self.loaded.model(ids))
        self._time("table", lambda: read(Question(positions=positions)))

    def _time(self, name: str, look: Callable[[], object]) -> None:
        times = []
        for _ in range(self.repeats):
            began = time.perf_counter()
            look()
            times.append(time.perf_counter() - began)
        self.times[name] = statistics.median(times)


def run(quick: bool) -> Iterator[Row]:
    looks = Looks(load(LaunchArguments(model=str(ATLAS)), lambda _what, _percent: None), 2 if quick else 40)
    looks.run()
    times = looks.times
    for name, what, unit in (
        ("lens", "the lens of a step", "forward"),
        ("attribution", "the attribution of a step's logit to its heads", "forward"),
        ("table", f"the lens at {TABLE} positions", "whole forward"),
    ):
        forwards = "forwards of the step" if unit == "forward" else "forwards over the text"
        yield Row(what, f"{ms(times[name])}, {times[name] / times[unit]:.1f} {forwards}", f"forward {ms(times[unit])}")
