"""The ATen operations that a model runs, one by one: a dispatch mode on the model thread sees them, while needed.

The mode changes no result. It lies below autograd, as the listing of a replay does, so both see the same operations.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode

from dap_server.engine.anatomy.regions import Regions
from dap_server.modelmap.places import STEP, Place

NOT_RUN: Any = object()
"""Stands for the result of an operation that has not run."""

Function = Any
"""An overload of an operation as torch has it, or a higher-order one."""


class Site(NamedTuple):
    """Where an operation stands.

    Attributes:
        path: of the module whose code calls it.
        modules: paths of all running modules, outermost first.
        address: 0 where the beginning of its region was not seen.
        ordinal: which of the step's operations it is, from 1; 0 where the beginning of the step was not seen.
    """

    path: str
    modules: tuple[str, ...]
    address: int
    ordinal: int


@dataclass
class Operation:
    """One operation, in the moment that it runs.

    Attributes:
        caller: the Python frame that called it.
        result: shares its elements with what the model gets; NOT_RUN before.
    """

    function: Function
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    site: Site
    caller: FrameType
    result: Any = NOT_RUN

    @property
    def name(self) -> str:
        """`aten::add`."""
        return operation_name(self.function)[0]

    @property
    def full_name(self) -> str:
        """`aten::add.Tensor`: with the overload, where it is not the default one."""
        return operation_name(self.function)[1]

    @property
    def operands(self) -> dict[str, Any]:
        """What it is given, by the names of its schema."""
        schema = getattr(self.function, "_schema", None)
        names = [argument.name for argument in schema.arguments] if schema is not None else []
        names.extend(f"args[{i}]" for i in range(len(names), len(self.args)))
        return {**dict(zip(names, self.args, strict=False)), **self.kwargs}


def operation_name(function: Function) -> tuple[str, str]:
    """Without and with its overload."""
    if function not in _names:
        schema = getattr(function, "_schema", None)
        name = schema.name if schema is not None else f"{function.namespace}::{function}"
        overload = schema.overload_name if schema is not None else ""
        _names[function] = (name, f"{name}.{overload}" if overload else name)
    return _names[function]


_names: dict[Function, tuple[str, str]] = {}


class Whereabouts:
    """Follows module calls, and tells the site of every operation between them.

    Beginnings of calls are reported; ends are seen from the Python stack, since a call that ran already when somebody
    began to follow does not report its end.
    """

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._calls: list[tuple[FrameType, str]] = []
        self._frames: set[FrameType] = set()
        self._modules: tuple[str, ...] = ()
        self._base = 0  # address of the present region's beginning; 0 when it was not seen
        self._number = 0
        self._ordinal: int | None = None

    def step_begins(self) -> None:
        self._set([])
        self._base, self._number, self._ordinal = 0, 0, 0

    def stands_at(self, path: str, is_before: bool, calls: list[tuple[FrameType, str]]) -> None:
        """Begins in the middle of a step, where a module begins or ends; `calls` run, outermost first."""
        self._set(calls)
        self._base = self._regions.address(path, "before") if is_before else 0  # its caller's comes when it has left
        self._number, self._ordinal = 0, None

    def forget(self) -> None:
        self._set([])
        self._base, self._number, self._ordinal = 0, 0, None

    def begins(self, path: str, call: FrameType) -> None:
        self._return_to(call.f_back)
        self._set([*self._calls, (call, path)])
        self._base, self._number = self._regions.address(path, "before"), 0

    def next_operation(self, caller: FrameType) -> Site | None:
        """The site of an operation that is called just now; None outside of the model."""
        if not self._return_to(caller):
            return None
        self._number += 1
        if self._ordinal is not None:
            self._ordinal += 1
        address = self._base + self._number if self._base else 0
        return Site(self._calls[-1][1], self._modules, address, self._ordinal or 0)

    def _return_to(self, frame: FrameType | None) -> bool:
        """Takes calls that have ended off the list; whether one is left that `frame` runs in."""
        while frame is not None and frame not in self._frames:
            frame = frame.f_back
        left = ""
        calls = self._calls
        while calls and calls[-1][0] is not frame:
            left = calls[-1][1]
            calls = calls[:-1]
        if len(calls) != len(self._calls):
            self._set(calls)
            self._base, self._number = self._regions.address(left, "after") if calls else 0, 0
        return bool(calls)

    def _set(self, calls: list[tuple[FrameType, str]]) -> None:
        self._calls = calls
        self._frames = {frame for frame, _ in calls}
        self._modules = tuple(path for _, path in calls)


class DispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here, nor below
    """Calls a function in the place of every operation of this thread."""

    supports_higher_order_operators = True

    def __init__(self, called: Callable[[Function, tuple[Any, ...], dict[str, Any], FrameType], Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._called = called

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the compiler would be imported for it, which takes seconds

    def __torch_dispatch__(
        self, func: Function, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._called(func, args, kwargs or {}, sys._getframe(1))


class OperationWatch:
    """Reports the operations of a model to whoever steps through them. On the model thread only."""

    def __init__(
        self, regions: Regions, before: Callable[[Operation], None], after: Callable[[Operation], None]
    ) -> None:
        self.where = Whereabouts(regions)
        self.is_on = False
        self.is_deaf: Callable[[], bool] = lambda: False
        """Whether operations just now belong to a look of our own."""
        self._before, self._after = before, after
        self._mode = DispatchMode(self._called)
        self._is_pushed = False
        self._outside: tuple[Any, Any] | None = None

    def step_begins(self, needed: bool) -> None:
        """From here on every operation is seen, or none."""
        if needed:
            self.where.step_begins()
        if needed or self.is_on:
            self.switch(needed)

    def goes_on(self, needed: bool, place: Place, calls: list[tuple[FrameType, str]]) -> None:
        """The run goes on from a stop in the middle of a step; `calls` run there, outermost first."""
        if needed and not self.is_on and calls:
            self.where.stands_at(place.path, place.phase == "before", calls)
        elif needed and not self.is_on:  # outside of the model
            self.where.step_begins() if place.path == STEP else self.where.forget()
        if needed or self.is_on:
            self.switch(needed)

    def switch(self, on: bool) -> None:
        """Begins or ends to listen. The mode leaves as soon as it can: not from within one of its own operations."""
        if on and not self._is_pushed:
            self._outside = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
            self._mode.__enter__()  # type: ignore[no-untyped-call]
            self._is_pushed = True
        if not on:
            self.where.forget()
            self._pop()
        self.is_on = on

    @contextlib.contextmanager
    def set_aside(self) -> Iterator[None]:
        """For a stop: what runs meanwhile is not reported, and inside an operation runs as if called from outside it.

        `switch` has to follow.
        """
        if self._pop() or not self._is_pushed or self._outside is None:
            yield
            return
        with torch._C._ForceDispatchKeyGuard(*self._outside):  # else autograd would be passed over
            yield

    def _pop(self) -> bool:
        if not self._is_pushed or _get_current_dispatch_mode() is not self._mode:
            return False
        self._mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._is_pushed = False
        return True

    def _called(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType) -> Any:
        site = self.where.next_operation(caller) if self.is_on and not self.is_deaf() else None
        if site is None:
            return function(*args, **kwargs)
        operation = Operation(function, args, kwargs, site, caller)
        self._before(operation)
        result = function(*args, **kwargs)
        operation.result = _alias(result)
        self._after(operation)
        return result


def _alias(result: Any) -> Any:
    """The same elements in another tensor: what others hold, torch may detach first, which is one more operation."""
    if isinstance(result, Tensor):
        return result.data
    return type(result)(map(_alias, result)) if type(result) in (list, tuple) else result
