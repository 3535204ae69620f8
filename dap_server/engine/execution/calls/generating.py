"""Calls of `generate`: with which loop of its own or of ours, and how each is run so that it can go back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.configuration_utils import GenerationMode

from dap_server.engine.execution.beginnings import Beginnings
from dap_server.engine.execution.calls.decoding import own_decoding
from dap_server.engine.execution.calls.recognising import device_of
from dap_server.engine.execution.decoding import Listener
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.given import Given
from dap_server.engine.execution.stepping import Stepper
from dap_server.engine.execution.whole_call import WholeCall

T = TypeVar("T")
OURS = (GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE)
_OTHER_LOOPS = ("assistant_model", "custom_generate")
"""Arguments of `generate` that have it decode in another one."""


@dataclass
class Generating:
    """One call of `generate` under a stepper.

    Attributes:
        is_own_loop: whether our loop decodes.
        finished: is told of a call of another loop that is over, with what it returns, while one can still go back.
    """

    stepper: Stepper
    listener: Listener
    is_own_loop: bool
    finished: Callable[[Generation], None]
    beginnings: Beginnings | None = None

    def run(self, generation: Generation, call: Callable[[], T] | Given[T]) -> T:
        """Runs it. `generation` is what is known before it begins; `call` calls `generate`."""
        model = self.stepper.anatomy.model
        with own_decoding(self.stepper, self.listener):
            if self.is_own_loop and not has_encoder(model):
                return call()
            whole = WholeCall(
                self.stepper,
                generation,
                device_of(model),
                call,
                (lambda _result: None) if self.is_own_loop else (lambda result: self._finish(generation, result)),
                counts=not self.is_own_loop,  # an encoder runs before our loop, which cannot run it again
                beginnings=self.beginnings,
            )
            return whole.run()

    def _finish(self, generation: Generation, result: Any) -> None:
        if has_encoder(self.stepper.anatomy.model) and generation.encoded is None:
            generation.encoded, generation.prompt_length = replace(generation), 0
        sequences = getattr(result, "sequences", result)
        generation.input_ids = sequences if isinstance(sequences, Tensor) else None
        self.finished(generation)


def has_encoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))


def is_ours(model: Any, kwargs: Mapping[str, Any], generation_config: Any = None) -> bool:
    """Whether `generate`, called with these, decodes in the loop that ours takes the place of."""
    if any(kwargs.get(name) is not None for name in _OTHER_LOOPS):
        return False
    given = kwargs.get("generation_config", generation_config)
    asked: Any = _Asked(kwargs, given, getattr(model, "generation_config", None))
    return GenerationConfig.get_generation_mode(asked) in OURS


class _Asked:
    """The options that a call of `generate` comes to, without a copy of any configuration."""

    def __init__(self, kwargs: Mapping[str, Any], *configurations: Any) -> None:
        self._kwargs, self._configurations = kwargs, configurations

    def __getattr__(self, name: str) -> Any:
        if name in self._kwargs:
            return self._kwargs[name]
        values = (getattr(one, name, None) for one in self._configurations)
        return next((value for value in values if value is not None), None)
