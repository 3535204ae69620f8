"""Putting our decode loop in the place of transformers' own, and taking it out again."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from transformers.generation.utils import GenerationMixin

from dap_server.engine.execution.decoding import Listener, SamplingLoop
from dap_server.engine.execution.encoding import EncoderCall, encoder_calls
from dap_server.engine.execution.stepping import Stepper


@contextlib.contextmanager
def own_decoding(stepper: Stepper, listener: Listener) -> Iterator[None]:
    """While this is open, sampling and greedy decoding of this thread run in a `SamplingLoop`.

    Calls of other threads, of an assistant model, inside a running call or in a replay, and decoding in lock-step with
    other ranks, run in transformers' own loop.
    """
    original = GenerationMixin._sample
    thread = threading.get_ident()
    running = threading.local()

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
        is_inner = getattr(running, "now", False) or stepper.is_replaying
        is_inner = is_inner or getattr(generation_config, "is_assistant", False)
        if is_inner or synced_gpus or threading.get_ident() != thread:
            return original(
                self, input_ids, logits_processor, stopping_criteria, generation_config, synced_gpus, streamer,
                **model_kwargs,
            )  # fmt: skip
        running.now = True
        loop = SamplingLoop(
            stepper, self, input_ids, logits_processor, stopping_criteria, generation_config, streamer,
            model_kwargs, listener,
        )  # fmt: skip
        loop.generation.encoder, running.encoder = getattr(running, "encoder", None), None
        try:
            return loop.run()
        finally:
            running.now = False

    def encodes(call: EncoderCall) -> None:
        if threading.get_ident() == thread and not getattr(running, "now", False):
            running.encoder = stepper.generation.encoder = call

    GenerationMixin._sample = sample
    try:
        with encoder_calls(stepper, encodes):
            yield
    finally:
        GenerationMixin._sample = original
