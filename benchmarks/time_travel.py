"""Going back one token near the beginning and far into a text, and what a token's record takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from benchmarks import ATLAS
from benchmarks.measure import Row, judged, ms
from dap_server.engine.anatomy.loading import Loaded, load
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.calls.decoding import own_decoding
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.modelmap.places import SAMPLE, Place
from dap_server.protocol.launch import LaunchArguments

TOKENS = 6
"""Made at every position; one goes back from the last but one to the one before, again and again."""

SAME = 1.25
"""How much longer a step back may take than a plain token at the same position to be called one forward pass."""

RECORD_BYTES = 4096


class BackAndForth:
    """Stops at the choice of a token, and goes back one token from there, `repeats` times."""

    def __init__(self, loaded: Loaded, repeats: int) -> None:
        self.loaded, self.repeats = loaded, repeats
        self.stepper = Stepper(Anatomy(loaded.model), self._stopped)
        self.back: list[float] = []
        self.forth: list[float] = []
        self.forwards = 0
        self._moment = 0.0
        self.finished_with: Generation | None = None

    def run(self, length: int, **options: Any) -> None:
        """With a prompt of `length` tokens."""
        prompt = torch.randint(10, 2000, (1, length), generator=torch.Generator().manual_seed(0))
        counting = self.loaded.model.register_forward_pre_hook(self._count)
        self.stepper.begin(Generation())
        self.stepper.pause()
        with own_decoding(self.stepper, self):
            self.loaded.model.generate(
                prompt, max_new_tokens=TOKENS, min_new_tokens=TOKENS, disable_compile=True, **options
            )
        counting.remove()

    def token(self, tokens: Tensor) -> None:
        pass

    def finished(self, generation: Generation) -> None:
        self.finished_with = generation

    def _count(self, *_: object) -> None:
        self.forwards += 1

    def _stopped(self, stop: Stop) -> None:
        """From `sample` of one step to `sample` of the step before, which takes a forward; and on again, likewise."""
        now = time.perf_counter()
        near, far = Place(TOKENS - 3, SAMPLE), Place(TOKENS - 2, SAMPLE)
        if stop.place == far and self._moment:
            self.forth.append(now - self._moment)
        elif stop.place == near and self._moment:
            self.back.append(now - self._moment)
        if len(self.back) == self.repeats:
            self.stepper.resume(Motion.RUN)
            return
        self.forwards = 0 if not self.back else self.forwards
        self._moment = time.perf_counter() if stop.place in (near, far) else 0.0
        self.stepper.travel(near if stop.place == far else far, "goto")


def run(quick: bool) -> Iterator[Row]:
    loaded = load(LaunchArguments(model=str(ATLAS)), lambda _what, _percent: None)
    lengths = (10, 30) if quick else (10, 4_000)
    repeats = 2 if quick else 40
    for length in lengths:
        travel = BackAndForth(loaded, repeats)
        travel.run(length)
        back, forth = statistics.median(travel.back), statistics.median(travel.forth)
        yield judged(
            f"a step back at position {length:,}",
            ms(back),
            f"the same step forward {ms(forth)}; ratio {back / forth:.2f}",
            "one forward pass",
            back / forth <= SAME,
        )
    for name, options in (("greedy", {}), ("sampled", {"do_sample": True})):
        travel = BackAndForth(loaded, 1)
        travel.run(10, **options)
        generation = travel.finished_with
        assert generation is not None
        tape: Any = generation.tape
        size = tape.timeline.nbytes_per_step
        yield judged(f"record of a token, {name}", f"{size:,.0f} bytes", "", "≤ 4 KB", size <= RECORD_BYTES)
