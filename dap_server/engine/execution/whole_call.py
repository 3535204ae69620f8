"""Calls that decode in another loop than ours: beam search, assisted decoding, a user's own. They run again as a whole.

A step of such a call is one call of the whole model. What runs before the first one, such as the encoder of a beam
search, belongs to step 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dap_server.engine.execution import randomness
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.edit import Edit
from dap_server.engine.execution.edits.stored import StoredParameters
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.holders import Holders
from dap_server.engine.execution.probes import Enough, Probe, TraceProbe, instrumented
from dap_server.engine.execution.stepping import Rewind, Stepper

T = TypeVar("T")


class WholeCall(Generic[T]):
    """One call that can be run again from its start, with the random state and the attributes that it began with."""

    def __init__(
        self,
        stepper: Stepper,
        generation: Generation,
        device: torch.device,
        call: Callable[[], T],
        finish: Callable[[T], None] = lambda _result: None,
        counts: bool = True,
    ) -> None:
        """`finish` gets the result of `call` while one can still go back. `counts`: a call of the model is a step."""
        self._stepper, self._generation, self._device = stepper, generation, device
        self._call, self._finish, self._counts = call, finish, counts
        self._holders = Holders(stepper.anatomy.model, [])
        self._configurations = _configurations(stepper.anatomy.model)
        self._edits = ModuleEdits(stepper.anatomy)
        self._parameters = StoredParameters(stepper.anatomy)
        self._random = randomness.capture(device)
        self._attributes = self._holders.copy()
        self._settings = [dict(settings) for settings in self._configurations]

    def run(self) -> T:
        """Runs it; again from the start whenever somebody goes back."""
        self._generation.tape = self
        self._generation.has_flags = self._counts
        self._stepper.begin(self._generation)
        handles = self._count_calls() if self._counts else []
        self._generation.step = self._generation.calls = 0
        try:
            while True:
                try:
                    result = self._call_reported()
                    self._finish(result)
                    return result
                except Rewind as rewind:
                    self.back_to_start()
                    if rewind.turn is not None:
                        self._generation.branches.take(rewind.turn)
                        if self._counts:  # else a loop of ours, which tells it itself, has not begun
                            self._stepper.turned(self._generation)
                    self._stepper.go_to(rewind)
        finally:
            self._parameters.bring(())
            for handle in handles:
                handle.remove()

    def _call_reported(self) -> T:
        try:
            with self._edited(self._is_called, lambda: self._generation.step):
                return self._call()
        except Exception as error:
            self._stepper.late.raised(self._generation.step, error)
            raise

    def _edited(self, called: Callable[[], None], step: Callable[[], int]) -> AbstractContextManager[None]:
        """While it is open, the call is one with the edits of the present branch; a loop of ours in it has its own.

        `called` is told of every call of the model before anybody else, `step` says which it is.
        """
        generation, stepper = self._generation, self._stepper
        edits, outcomes = generation.edits, generation.branches.outcomes
        self._parameters.bring(edits.active(0), outcomes)
        if not edits:
            return contextlib.nullcontext()

        def active() -> tuple[int, tuple[Edit, ...]]:
            is_ours = stepper.generation is generation
            return step(), edits.active(step()) if is_ours else ()

        def begins() -> None:
            called()
            self._parameters.bring(edits.active(step()), outcomes)

        return self._edits.applied(active, outcomes, called=begins)

    def _is_called(self) -> None:
        if self._counts:
            self._stepper.call_begins()

    def _count_calls(self) -> list[RemovableHandle]:
        model, stepper = self._stepper.anatomy.model, self._stepper
        return [
            model.register_forward_pre_hook(lambda *_: stepper.call_begins(), prepend=True),
            model.register_forward_hook(lambda *_: stepper.call_ends(), always_call=True),
        ]

    def back_to_start(self) -> None:
        self._holders.restore(self._attributes)
        self._set(self._settings)
        randomness.restore(self._random, self._device)
        self._generation.step = self._generation.calls = 0
        self._generation.is_over = False
        self._stepper.call_ends()

    def _set(self, values: list[dict[str, Any]]) -> None:
        """Some loops change a configuration for a while, and leave it so when they are unwound."""
        for settings, value in zip(self._configurations, values, strict=True):
            settings.clear()
            settings.update(value)

    @property
    def is_sampled(self) -> bool:
        return False

    @property
    def cache(self) -> Any:
        return None

    @property
    def config(self) -> Any:
        return None

    @property
    def logits_processor(self) -> list[Any]:
        return []

    def cache_began_with(self, step: int) -> list[int | None]:
        return []

    def choose(self, scores: Tensor) -> Tensor:
        raise NotImplementedError("another loop chooses")

    def forward(self, ids: Tensor, sequence: int, probe: Probe | None = None, encodes: bool = False) -> Any:
        raise NotImplementedError("the text of another loop is not known")

    def follow(self, steps: range, branches: Branches, probe: Any, heard: Any) -> None:
        raise NotImplementedError("the text of another loop is not known")

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        kept = self._parameters.kept()
        with self._stepper.undisturbed(), randomness.kept(self._device), self._holders.kept(), kept:
            yield

    def replay(self, step: int, probe: Probe | None = None, supposing: Branches | None = None) -> None:
        """Runs the call again beside the suspended one, as far as the end of one of its steps."""
        generation = self._generation
        now = generation.step, generation.calls, generation.is_over
        branches = generation.branches
        settings = [dict(settings) for settings in self._configurations]
        if isinstance(probe, TraceProbe):
            probe.generation = generation
        with self.aside():
            try:
                self.back_to_start()
                generation.branches = supposing or branches
                one_step = _OneStep(step, probe, self._stepper.stage.progress.reached)
                with self._edited(one_step.called, lambda: one_step.now), instrumented(self._stepper.anatomy, one_step):
                    self._call()
            except Enough:
                return
            except Exception as error:
                if self._stepper.stop is None or not self._stepper.stop.has_raised(error, step):
                    raise
            finally:
                generation.step, generation.calls, generation.is_over = now
                generation.branches = branches
                self._set(settings)


def _configurations(model: Any) -> list[dict[str, Any]]:
    """What the configurations of a model and its parts hold, its generation configuration too."""
    found = {id(c): c for module in model.modules() if (c := getattr(module, "config", None)) is not None}
    generation = getattr(model, "generation_config", None)
    return [vars(c) for c in (*found.values(), generation) if hasattr(c, "__dict__")]


class _OneStep:
    """Lets a probe see one step of a call that is replayed from its start."""

    def __init__(self, step: int, probe: Probe | None, reached: Callable[[int, int], None]) -> None:
        """`reached` is told how many of so many steps have begun."""
        self._step, self._probe, self._reached = step, probe, reached
        self.now = self._calls = 0
        self._is_in_call = False
        self._depth = 0  # of calls of the whole model within each other: a probe has it go on from within its own

    def called(self) -> None:
        """The whole model is; said by whichever hook sees it first."""
        if not self._is_in_call:
            self._is_in_call = True
            self.now = self._calls
            self._calls += 1
            self._reached(self.now, self._step + 1)

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if path == "":
            self._depth += 1
            self.called()
        if self._is_meant and self._probe is not None:
            self._probe.begins(path, module, call)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        is_meant = self._is_meant
        if path == "":
            self._depth -= 1
            self._is_in_call = self._depth > 0
        if not is_meant:
            return
        if self._probe is not None:
            self._probe.ends(path, module, output)
        if path == "":
            raise Enough

    @property
    def _is_meant(self) -> bool:
        return self.now == self._step and self._depth <= 1
