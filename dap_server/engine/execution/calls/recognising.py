"""What counts as a model, and what of its arguments is text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss

TEXT, MASK = "input_ids", "attention_mask"
_WHOLE_NUMBERS = (torch.int64, torch.int32)


def is_model(module: nn.Module) -> bool:
    """Whether it has parts and weights, quantised and packed ones included, and is no loss.

    What TorchScript has compiled is none: nothing of Python runs in it.
    """
    if isinstance(module, (_Loss, torch.jit.ScriptModule)) or next(module.children(), None) is None:
        return False
    if next(module.parameters(), None) is not None:
        return True
    return any(hasattr(part, "_packed_params") for part in module.modules())


def device_of(model: nn.Module) -> torch.device:
    """Where its weights are; those that lie elsewhere between calls, as accelerate has it, do not count."""
    held = itertools.chain(model.parameters(), model.buffers())
    return next((tensor.device for tensor in held if not tensor.is_meta), torch.device("cpu"))


def ids_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | None:
    """(B, T) the text that a forward is given: `input_ids`, else the only argument that can be one; else None."""
    named = _text(kwargs.get(TEXT))
    if named is None and args:
        named = _text(args[0])
    if named is not None:
        return named
    others = [value for name, value in kwargs.items() if "mask" not in name and "type" not in name]
    found = [text for value in (*args, *others) if (text := _text(value)) is not None]
    return found[0] if len(found) == 1 else None


def mask_of(ids: Tensor | None, kwargs: Mapping[str, Any]) -> Tensor | None:
    """(B, T) which positions of a text are no padding, where that is told."""
    mask = kwargs.get(MASK)
    is_of_text = isinstance(mask, Tensor) and ids is not None and mask.shape == ids.shape
    return mask if is_of_text else None


def _text(value: object) -> Tensor | None:
    """It, if it can be token ids."""
    if not isinstance(value, Tensor) or value.dim() != 2 or value.dtype not in _WHOLE_NUMBERS:
        return None
    return value if value.numel() else None
