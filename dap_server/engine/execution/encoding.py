"""The encoder of an encoder–decoder model: it runs once, before the steps, and can be run again beside them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers.generation.utils import GenerationMixin

from dap_server.engine.execution import randomness
from dap_server.engine.execution.holders import Holders
from dap_server.engine.execution.probes import Enough, Probe, instrumented
from dap_server.engine.execution.stepping import Stepper

_NAMES = ("_prepare_text_encoder_decoder_kwargs_for_generation", "_prepare_encoder_decoder_kwargs_for_generation")
"""What transformers calls the method of `generate` that runs the encoder; newest first."""
ENCODES = next((name for name in _NAMES if hasattr(GenerationMixin, name)), None)
"""The one that there is."""


class EncoderCall:
    """One call of an encoder by `generate`.

    Attributes:
        path: of the encoder.
        ids: (B, S) what it reads; None when that is no text.
    """

    def __init__(self, stepper: Stepper, model: Any, ids: Any, call: Callable[[], Any]) -> None:
        self.path = stepper.anatomy.path_of(model.get_encoder()) or ""
        is_text = isinstance(ids, Tensor) and ids.dim() == 2 and not ids.is_floating_point()
        self.ids: Tensor | None = ids if is_text else None
        self._stepper, self._call, self._device = stepper, call, torch.device(model.device)

    def holds(self, path: str) -> bool:
        """Whether a module is the encoder or lies in it."""
        return bool(self.path) and f"{path}.".startswith(f"{self.path}.")

    def ids_of(self, sequence: int, sequences: int) -> Tensor | None:
        """(1, S) what it read for one of the decoder's sequences, of which there may be several to a text."""
        if self.ids is None:
            return None
        row = sequence // max(sequences // self.ids.shape[0], 1)
        return self.ids[row : row + 1]

    def replay(self, step: int, probe: Probe) -> None:
        """Runs the encoder again beside what is suspended; it has no steps."""
        anatomy = self._stepper.anatomy
        holders = Holders(anatomy.model)
        with (
            self._stepper.undisturbed(),
            randomness.kept(self._device),
            holders.kept(),
            contextlib.suppress(Enough),
            instrumented(anatomy, probe),
        ):
            self._call()


def encoded_again(
    encode: Any, model: Any, ids: Any, given: dict[str, Any], rest: tuple[Any, ...], options: dict[str, Any]
) -> Callable[[], Any]:
    """What runs an encoder once more as it is about to run: `given` gets its output, so a copy is kept."""
    kept = dict(given)
    return lambda: encode(model, ids, dict(kept), *rest, **options)
