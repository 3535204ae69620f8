"""The calls of models that a program makes: each is taken at the seam, and run by the stepper of its model.

Threads: any thread may call a model; `install` and `remove` belong to whoever attaches an editor.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from dap_server.engine.execution.beginnings import Beginnings
from dap_server.engine.execution.calls.compiled import Eagerly, original
from dap_server.engine.execution.calls.decoding import loops
from dap_server.engine.execution.calls.generating import Generating, is_ours
from dap_server.engine.execution.calls.modes import Modes
from dap_server.engine.execution.calls.recognising import MASK, TEXT, device_of, ids_of, is_model, mask_of
from dap_server.engine.execution.calls.seam import Seam, bound
from dap_server.engine.execution.calls.turns import Turns
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.given import Given
from dap_server.engine.execution.stage import is_parked_here
from dap_server.engine.execution.stepping import Stepper
from dap_server.engine.execution.whole_call import WholeCall

T = TypeVar("T")


class Owner(Protocol):
    """Knows the models of a program, and hears of their calls. Called on the thread that calls the model."""

    def called(self, model: nn.Module, given: Iterable[Any], is_eager: bool) -> Stepper | None:
        """A call of a model is about to begin with some arguments, no other is under way. None: it is left alone.

        `is_eager`: whether what was called is compiled, and runs as it is written.
        """
        ...

    def token(self, stepper: Stepper, tokens: Tensor) -> None:
        """Our own loop chose tokens (B,)."""
        ...

    def finished(self, stepper: Stepper, generation: Generation) -> None:
        """What a call returns is known; one can still go back."""
        ...


class Calls:
    """The seam, and what happens to the calls that come to it."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._seam = Seam(self)
        self._turns = Turns()
        self._eagerly = Eagerly()
        self._beginnings: weakref.WeakKeyDictionary[Stepper, Beginnings] = weakref.WeakKeyDictionary()
        self._present: Stepper | None = None
        self._is_installed = False

    @property
    def thread(self) -> int | None:
        """The thread in which a call is under way."""
        return self._turns.holder

    def install(self) -> None:
        """From now on calls are taken; those that are under way go on as they began."""
        self._is_installed = True
        self._eagerly.begin()  # a function that is compiled may call models
        loops.install()
        self._seam.install()

    def remove(self) -> None:
        """Nothing of ours is left in the process but the call that is under way, which is let go elsewhere."""
        self._is_installed = False
        self._seam.remove()
        loops.remove()
        self._eagerly.undo()
        self._turns.wake()

    def forked(self) -> None:
        """In a child of this process: nobody else has the turn, or a lock."""
        self._turns = Turns()

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """What this thread calls meanwhile is not taken: it is the debugger's own."""
        outer, self._seam.here.is_inside = self._seam.here.is_inside, True
        try:
            yield
        finally:
            self._seam.here.is_inside = outer

    # --- the seam

    def forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A module is called from outside of any model."""
        if self._is_of_others(module) or not is_model(module):
            return _call(module, *args, **kwargs)
        called, module = module, original(module)
        is_eager = called is not module or module._compiled_call_impl is not None
        with self._taken(module, (*args, *kwargs.values()), is_eager) as stepper:
            if stepper is None:
                return _call(called, *args, **kwargs)
            ids = ids_of(args, kwargs)
            generation = self._generation(ids, mask_of(ids, kwargs))
            generation.is_forward, generation.records_graph = True, torch.is_grad_enabled()
            modes = Modes()

            def again(*args: Any, **kwargs: Any) -> Any:
                with modes.again() if stepper.is_replaying else nullcontext():
                    return _call(module, *args, **kwargs)

            def finish(_result: Any) -> None:
                generation.is_over = True
                self._owner.finished(stepper, generation)

            beginnings = self._beginnings_of(stepper)
            call = Given(again, *args, **kwargs).remembering(beginnings.objects())
            return WholeCall(stepper, generation, device_of(module), call, finish, beginnings=beginnings).run()

    def generate(self, generate: Callable[..., Any], model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`generate` is called from outside of any model."""
        if self._is_of_others(model):
            return generate(model, *args, **kwargs)
        with self._taken(model, (*args, *kwargs.values())) as stepper:
            if stepper is None:
                return generate(model, *args, **kwargs)
            asked = bound(generate, args, kwargs)
            ids = ids_of(args[:1], {TEXT: asked.get(TEXT, asked.get("inputs"))})
            generation = self._generation(ids, mask_of(ids, {MASK: asked.get(MASK)}))
            told = _Told(self._owner, stepper)
            own = is_ours(model, asked)
            generating = Generating(stepper, told, own, told.finished, self._beginnings_of(stepper))
            stepper.begin(generation)
            return generating.run(generation, Given(generate, model, *args, **kwargs))

    # --- one call

    @contextmanager
    def _taken(self, model: nn.Module, given: Iterable[Any], is_eager: bool = False) -> Iterator[Stepper | None]:
        """The turn of this thread, with the stepper of the model; None where the call is left alone."""
        is_ours = self._turns.take(lambda: self._is_installed, lambda: self._has_to_wait(model))
        with self.left_alone():
            stepper = None
            try:
                if is_ours:
                    self._eagerly.begin()
                    stepper = self._present = self._owner.called(model, given, is_eager)
                yield stepper
            finally:
                if is_ours:
                    self._leave(stepper)

    def _leave(self, stepper: Stepper | None) -> None:
        try:
            if stepper is not None:
                stepper.end()
        finally:
            self._present = None
            self._turns.give()

    def _has_to_wait(self, model: nn.Module) -> bool:
        """As long as it takes: the call under way is stopped, or of the same model, and replays would disturb both."""
        present = self._present
        return present is not None and (present.stage.is_parked or present.anatomy.model is model)

    def _is_of_others(self, module: nn.Module) -> bool:
        """Whether it is the debugger's own call, part of a backward pass, or of a call under way in another thread.

        Or one of tensors that stand for others: what looks at the model would be a part of that too.
        """
        if is_parked_here() or torch._C._current_graph_task_id() != -1 or _is_transformed():
            return True
        present = self._present
        return present is not None and self._turns.holder != threading.get_ident() and _is_part(module, present)

    def _beginnings_of(self, stepper: Stepper) -> Beginnings:
        found = self._beginnings.get(stepper)
        if found is None:
            model = stepper.anatomy.model
            found = self._beginnings[stepper] = Beginnings(model, device_of(model))
        return found

    @staticmethod
    def _generation(ids: Tensor | None, mask: Tensor | None) -> Generation:
        length = 0 if ids is None else ids.shape[1]
        return Generation(input_ids=ids, attention_mask=mask, prompt_length=length)


class _Told:
    """Hears our loop, for the owner of the models."""

    def __init__(self, owner: Owner, stepper: Stepper) -> None:
        self._owner, self._stepper = owner, stepper

    def token(self, tokens: Tensor) -> None:
        self._owner.token(self._stepper, tokens)

    def finished(self, generation: Generation) -> None:
        generation.is_over = True
        self._owner.finished(self._stepper, generation)


def _is_part(module: nn.Module, stepper: Stepper) -> bool:
    """Whether a model is called by parts in several threads, or as replicas."""
    is_replica = getattr(module, "_is_replica", False)
    return is_replica or (module is not stepper.anatomy.model and stepper.anatomy.path_of(module) is not None)


def _is_transformed() -> bool:
    """Whether tensors stand for others here: those of `torch.func`, of a trace, or fake ones."""
    if torch._C._get_tracing_state() is not None or torch._C._functorch.peek_interpreter_stack() is not None:
        return True
    return torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None


def _call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """As torch calls it."""
    if module._compiled_call_impl is not None:
        return module._compiled_call_impl(*args, **kwargs)
    return module._call_impl(*args, **kwargs)  # type: ignore[no-untyped-call]  # torch's own
