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

from dap_server.engine.execution.beginnings import Beginnings
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.edits.applying import ModuleEdits
from dap_server.engine.execution.edits.edit import Edit
from dap_server.engine.execution.edits.stored import StoredParameters
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.given import CannotRunAgain, Given
from dap_server.engine.execution.own_hooks import OwnHook
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
        call: Callable[[], T] | Given[T],
        finish: Callable[[T], None] = lambda _result: None,
        counts: bool = True,
        beginnings: Beginnings | None = None,
    ) -> None:
        """One call.

        Args:
            call: a `Given` where what it is given may change while it runs.
            finish: gets the result of `call` while one can still go back.
            counts: whether a call of the model is a step.
            beginnings: of the model, where they are kept from call to call.
        """
        self._stepper, self._generation = stepper, generation
        self._finish, self._counts = finish, counts
        self._given: Given[T] = call if isinstance(call, Given) else Given(call)
        self._edits = ModuleEdits(stepper.anatomy)
        self._parameters = StoredParameters(stepper.anatomy)
        self._beginnings = beginnings or Beginnings(stepper.anatomy.model, device)
        self._beginning = self._beginnings.now()

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
                    if rewind.begins_anew:
                        raise  # it leads to a call with other inputs
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
                return self._given()
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
            model.register_forward_pre_hook(OwnHook(lambda *_: stepper.call_begins()), prepend=True),
            model.register_forward_hook(OwnHook(lambda *_: stepper.call_ends()), always_call=True),
        ]

    def back_to_start(self) -> None:
        self._given.restore()
        self._start_over()

    def _start_over(self) -> None:
        self._beginnings.restore(self._beginning)
        self._generation.step = self._generation.calls = 0
        self._generation.is_over = False
        self._stepper.call_ends()

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

    def require_again(self) -> None:
        if (why := self._given.why_not_again()) is not None:
            raise CannotRunAgain(f"this call cannot run again from its beginning: {why}")

    def forward(self, ids: Tensor, sequence: int, probe: Probe | None = None, encodes: bool = False) -> Any:
        raise NotImplementedError("the text of another loop is not known")

    def follow(self, steps: range, branches: Branches, probe: Any, heard: Any) -> None:
        raise NotImplementedError("the text of another loop is not known")

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        kept = self._parameters.kept()
        with self._stepper.undisturbed(), self._beginnings.kept(), kept:
            yield

    def replay(self, step: int, probe: Probe | None = None, supposing: Branches | None = None) -> None:
        """Runs the call again beside the suspended one, as far as the end of one of its steps."""
        self.require_again()
        generation = self._generation
        now = generation.step, generation.calls, generation.is_over
        branches = generation.branches
        if isinstance(probe, TraceProbe):
            probe.generation = generation
        with self.aside(), self._given.aside() as again:
            try:
                self._start_over()
                generation.branches = supposing or branches
                one_step = _OneStep(step, probe, self._stepper.stage.progress.reached)
                with self._edited(one_step.called, lambda: one_step.now), instrumented(self._stepper.anatomy, one_step):
                    again()
            except Enough:
                return
            except Exception as error:
                if self._stepper.stop is None or not self._stepper.stop.has_raised(error, step):
                    raise
            finally:
                generation.step, generation.calls, generation.is_over = now
                generation.branches = branches


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
