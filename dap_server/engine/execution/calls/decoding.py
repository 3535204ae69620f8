"""Putting our decode loop in the place of transformers' own, and taking it out again."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor
from transformers.generation.utils import GenerationMixin

from dap_server.engine.execution.calls.replacing import Replacements
from dap_server.engine.execution.decoding import Listener, SamplingLoop
from dap_server.engine.execution.encoding import ENCODES, EncoderCall, encoded_again
from dap_server.engine.execution.stepping import Stepper


class _Decoding:
    """One call of `generate` whose sampling and greedy decoding is ours."""

    def __init__(self, stepper: Stepper, listener: Listener) -> None:
        self.stepper, self.listener = stepper, listener
        self.encoder: EncoderCall | None = None
        self.is_running = False


class _Here(threading.local):
    decoding: _Decoding | None = None
    prepares = False
    """Whether a loop is wanted, and not that it runs."""


class _Prepared(BaseException):
    """A loop on its way out of `generate`. No `except Exception` catches it."""

    def __init__(self, loop: SamplingLoop) -> None:
        super().__init__("prepared")
        self.loop = loop


_here = _Here()


@contextlib.contextmanager
def own_decoding(stepper: Stepper, listener: Listener) -> Iterator[None]:
    """While this is open, sampling and greedy decoding of this thread run in a `SamplingLoop`.

    Calls of other threads, of an assistant model, inside a running call or in a replay, and decoding in lock-step with
    other ranks, run in transformers' own loop.
    """
    outer, _here.decoding = _here.decoding, _Decoding(stepper, listener)
    loops.install()
    try:
        yield
    finally:
        loops.remove()
        _here.decoding = outer


def prepared_loop(call: Callable[[], object]) -> SamplingLoop:
    """The loop that a call of `generate` would run, at its start; only an encoder runs, if there is one.

    Where `own_decoding` is open on this thread.
    """
    _here.prepares = True
    try:
        call()
    except _Prepared as prepared:
        return prepared.loop
    finally:
        _here.prepares = False
    raise AssertionError("`generate` came to no loop of ours")


class Loops:
    """Has `generate` ask us for its loop; installed once, for whoever wants it at the time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._replaced = Replacements()

    def install(self) -> None:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._replaced.put(GenerationMixin, "_sample", _asking(GenerationMixin._sample))
                if ENCODES is not None:
                    self._replaced.put(GenerationMixin, ENCODES, _telling(getattr(GenerationMixin, ENCODES)))

    def remove(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._replaced.undo()


loops = Loops()


def _asking(original: Any) -> Any:
    """`_sample`, which runs in our loop where one is wanted."""

    @functools.wraps(original)
    def sample(
        self: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        synced_gpus: bool = False,
        streamer: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        here = _here.decoding
        is_wanted = _here.prepares or (here is not None and not (here.is_running or here.stepper.is_replaying))
        if here is None or not is_wanted or getattr(generation_config, "is_assistant", False) or synced_gpus:
            return original(
                self, input_ids, logits_processor, stopping_criteria, generation_config, synced_gpus, streamer,
                **model_kwargs,
            )  # fmt: skip
        loop = SamplingLoop(
            here.stepper, self, input_ids, logits_processor, stopping_criteria, generation_config, streamer,
            model_kwargs, here.listener,
        )  # fmt: skip
        if _here.prepares:
            loop.timeline.record(0, loop.cache, loop.model_kwargs, loop.unfinished)
            raise _Prepared(loop)
        here.is_running = True
        loop.generation.encoder, here.encoder = here.encoder, None
        try:
            return loop.run()
        finally:
            here.is_running = False

    return sample


def _telling(original: Any) -> Any:
    """What runs an encoder, which is known from then on, so that it can run again."""

    @functools.wraps(original)
    def encode(self: Any, inputs_tensor: Any, model_kwargs: dict[str, Any], *rest: Any, **options: Any) -> Any:
        here = _here.decoding
        if here is not None and not here.is_running and self is here.stepper.anatomy.model:
            again = encoded_again(original, self, inputs_tensor, model_kwargs, rest, options)
            here.encoder = here.stepper.generation.encoder = EncoderCall(here.stepper, self, inputs_tensor, again)
        return original(self, inputs_tensor, model_kwargs, *rest, **options)

    return encode
