"""Where NaN and infinity come from: a parameter, or the first operation that makes them."""

from __future__ import annotations

from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dap_server.engine.analysis.anomalies.non_finite import is_finite, is_mask
from dap_server.engine.execution.operations import DispatchMode, Function, operation_name
from dap_server.engine.execution.probes import Enough
from dap_server.engine.execution.values import tensors_in
from dap_server.engine.inspection.tensors.statistics import statistics
from dap_server.engine.inspection.tensors.text import dtype_name, shape_text
from dap_server.modelmap.places import Place


class Origin(NamedTuple):
    """One piece of the way back.

    Attributes:
        what: `parameter`, `operation` or `operand`.
    """

    what: str
    text: str


def of_parameters(module: nn.Module, path: str) -> list[Origin]:
    """The parameters and buffers of a module itself that are not finite, with the first index."""
    named = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [Origin("parameter", _damaged(f"{path}.{name}", tensor)) for name, tensor in named if not is_finite(tensor)]


def _damaged(name: str, tensor: Tensor) -> str:
    found = statistics(tensor)
    what = "NaN" if found.nan == found.non_finite else "infinity" if not found.nan else "NaN and infinity"
    where = f"at {list(found.first_non_finite or ())}" + (" first" if found.non_finite > 1 else "")
    return f"{name} has {what} {where}, {found.non_finite:,} of {found.count:,} values: the weights are damaged there"


class OriginProbe:
    """Hears the operations of one module call in a replay, up to the first that makes what is not finite."""

    def __init__(self, place: Place) -> None:
        self.origins: list[Origin] = []
        self._place, self._occurrence = place, -1
        self._watch: _Watch | None = None

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if path == self._place.path:
            self._occurrence += 1
            if self._occurrence == self._place.occurrence:
                self._watch = _Watch()
                self._watch.mode.__enter__()  # type: ignore[no-untyped-call]

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if path == self._place.path and self._watch is not None:
            self.close()
            raise Enough

    def close(self) -> None:
        """The replay is over, at its end or before."""
        if self._watch is not None:
            self._watch.mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self.origins, self._watch = self._watch.origins, None


class _Watch:
    """Hears operations until one makes what is not finite."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self.mode = DispatchMode(self._called)

    def _called(self, func: Function, args: tuple[Any, ...], kwargs: dict[str, Any], _caller: FrameType) -> Any:
        if self.origins:
            return func(*args, **kwargs)
        given = _operands(func, args, kwargs)
        writes = getattr(getattr(func, "_schema", None), "is_mutable", True)
        ranges = {name: _range(tensor) for name, tensor in given.items()} if writes else {}
        result = func(*args, **kwargs)
        broken = next((t for t in tensors_in(result) if not (is_finite(t) or is_mask(t))), None)
        if broken is not None and not _is_view(broken, given):
            name = operation_name(func)[1]
            ranges = ranges or {operand: _range(tensor) for operand, tensor in given.items()}
            self.origins.append(Origin("operation", f"{name} made it{_why(broken, given)}"))
            self.origins.extend(Origin("operand", f"{name}({operand}): {text}") for operand, text in ranges.items())
        return result


def _operands(func: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Tensor]:
    schema = getattr(func, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema is not None else []
    named = {**dict(zip(names, args, strict=False)), **kwargs}
    return {name: tensor for name, value in named.items() for tensor in tensors_in(value)}


def _is_view(result: Tensor, given: dict[str, Tensor]) -> bool:
    """Whether an operation only looks at what it was given in another way, and that was not finite before."""
    storage = result.untyped_storage().data_ptr()
    return any(t.untyped_storage().data_ptr() == storage and not is_finite(t) for t in given.values())


def _range(tensor: Tensor) -> str:
    if not tensor.is_floating_point():
        return f"{dtype_name(tensor.dtype)} {shape_text(tensor)}"
    found = statistics(tensor)
    zeros = f", {found.zeros:,} zeros" if found.zeros else ""
    broken = f", {found.non_finite:,} not finite" if found.non_finite else ""
    return f"{dtype_name(tensor.dtype)} {shape_text(tensor)}, {found.min:.4g} to {found.max:.4g}{zeros}{broken}"


def _why(result: Tensor, given: dict[str, Tensor]) -> str:
    """What is known of the reason: what it was given was not finite already, or the dtype ends before the result."""
    if any(not is_finite(tensor) for tensor in given.values()):
        return " of an operand that is not finite itself"
    limit = torch.finfo(result.dtype).max
    if limit < torch.finfo(torch.float32).max and bool(torch.isinf(result).any()):
        return f" of finite values: {dtype_name(result.dtype)} ends at {limit:.5g}, take bfloat16 or float32"
    if any(bool((tensor == 0).any()) for tensor in given.values() if tensor.is_floating_point()):
        return " of finite values, some of them zero"
    return " of finite values"
