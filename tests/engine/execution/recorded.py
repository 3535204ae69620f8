"""Operations recorded without the debugger, by a dispatch mode that shares no code with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


@dataclass
class Recorded:
    """One operation by value: its schema's name, the tensors that it was given and gave."""

    name: str
    given: list[Tensor]
    gave: list[Tensor]


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Records operations between `enters` and `leaves`."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[list[Recorded]] = []
        self._is_inside = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not self._is_inside:
            return func(*args, **(kwargs or {}))
        given = copied([args, kwargs or {}])
        result = func(*args, **(kwargs or {}))
        overload = func._schema.overload_name
        name = func._schema.name + (f".{overload}" if overload else "")
        self.calls[-1].append(Recorded(name, given, copied(result)))
        return result

    def enters(self, *_: Any) -> None:
        self.calls.append([])
        self._is_inside = True

    def leaves(self, *_: Any) -> None:
        self._is_inside = False


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[list[Recorded]]]:
    """The operations of each call of a module, in order."""
    recorder = Recorder()
    handles = [module.register_forward_pre_hook(recorder.enters), module.register_forward_hook(recorder.leaves)]
    try:
        with recorder:
            yield recorder.calls
    finally:
        for handle in handles:
            handle.remove()


def copied(value: Any) -> list[Tensor]:
    """The tensors in a value, by value."""
    if isinstance(value, Tensor):
        return [value.detach().clone()]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for item in value for tensor in copied(item)] if isinstance(value, list | tuple) else []
