"""Models without weights: built from a configuration, or copied from a model that is loaded."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from dap_server.engine.anatomy.tasks import Task

META = torch.device("meta")
NUMBERS = torch.bfloat16
"""The format in which every kind of layer runs on the meta device; mixtures of experts run in no other there."""


def build_on_meta(config: Any, task: Task, trust_remote_code: bool = False) -> nn.Module:
    """The model of a configuration as its auto class builds it, without weights."""
    with META:
        model: nn.Module = task.auto_class.from_config(
            copy.deepcopy(config), dtype=NUMBERS, trust_remote_code=trust_remote_code
        )
    return model


def copy_on_meta(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode without weights and without hooks. The model itself is left as it is.

    Raises:
        Exception: whatever an attribute raises that cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        memo |= {id(value): type(value)() for name, value in vars(module).items() if name.endswith("_hooks")}
        memo |= {id(one): _empty(one) for one in module._parameters.values() if one is not None}
        memo |= {id(one): _empty(one) for one in module._buffers.values() if one is not None}
    with _CopiesEmpty():
        copied: nn.Module = copy.deepcopy(model, memo)
    for module in copied.modules():
        if "_hf_hook" in vars(module):  # of accelerate, which moves what the module is given between devices
            vars(module).pop("forward", None)
    return copied.eval()


class _CopiesEmpty(TorchFunctionMode):
    """Copies of tensors that are neither parameters nor buffers are empty too."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.__deepcopy__:
            return _empty(args[0])
        return function(*args, **(kwargs or {}))


def _empty(tensor: Tensor) -> Tensor:
    dtype = NUMBERS if tensor.is_floating_point() else tensor.dtype
    empty = torch.empty(tensor.shape, dtype=dtype, device=META)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


@contextmanager
def undisturbed() -> Iterator[None]:
    """Building and running on the meta device draws random numbers and warns; outside nobody notices either."""
    restore = _random_state()
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity(transformers.utils.logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
        restore()


def _random_state() -> Callable[[], None]:
    ours, theirs, arrays = torch.get_rng_state(), random.getstate(), np.random.get_state()

    def restore() -> None:
        torch.set_rng_state(ours)
        random.setstate(theirs)
        np.random.set_state(arrays)

    return restore
