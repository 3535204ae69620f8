"""The operations of a step as a listing, in the order of their addresses, with the lines of Python that call them."""

from __future__ import annotations

import functools
import os
from bisect import bisect_left
from dataclasses import dataclass
from types import FrameType, ModuleType
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy, SourceLine, source_of_class
from dap_server.engine.anatomy.regions import Regions
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.operation_trace import OperationTrace
from dap_server.engine.execution.operations import Operation
from dap_server.engine.execution.probes import Enough
from dap_server.engine.execution.stops import Stop

MAX_LISTED = 8
"""Of the items of a list among the operands; `cat` and the like may be given hundreds."""


@dataclass(frozen=True)
class Instruction:
    """One row of a listing.

    Attributes:
        symbol: path of the module, or class for the whole model, whose code it is.
        source: where Python calls the operation, outside of torch itself.
        is_operation: not the beginning or end of a module.
    """

    address: int
    text: str
    symbol: str
    source: SourceLine | None
    is_operation: bool = True


class Disassembler:
    """Lists the operations of the step that a stop stands in. A listing is made once, however it is looked at."""

    def __init__(self, anatomy: Anatomy, regions: Regions) -> None:
        self._anatomy, self._regions = anatomy, regions
        self._listed: tuple[int, ...] | None = None
        self._rows: list[Instruction] = []

    def window(self, stop: Stop, address: int, offset: int, count: int) -> list[Instruction | None]:
        """`count` rows, of which the one at or behind `address` is number `-offset`; None beyond the ends."""
        rows = self.rows(stop)
        start = bisect_left(rows, address, key=lambda row: row.address) + offset
        return [rows[i] if 0 <= i < len(rows) else None for i in range(start, start + count)]

    def rows(self, stop: Stop) -> list[Instruction]:
        """All operations of the call of the model that the stop lies in, by a replay. On the model thread.

        A module that is called several times is listed once, as it ran last.
        """
        call = stop.activations[-1].frame if stop.activations else None
        key = (id(stop.generation), stop.place.step, id(call))
        if key != self._listed:
            self._rows = self._list(stop)
            self._listed = key
        return self._rows

    def _list(self, stop: Stop) -> list[Instruction]:
        tape = stop.generation.tape
        if tape is None:
            return []
        trace = _Listing(stop.activations[0] if stop.activations else None, self._regions, self._anatomy)
        trace.run(tape, stop.place.step)
        rows = trace.rows
        for path in dict.fromkeys(event.path for event in trace.events):
            if path in self._anatomy.modules:
                rows.update((row.address, row) for row in self._edges(path, self._anatomy.modules[path]))
        return sorted(rows.values(), key=lambda row: row.address)

    def _edges(self, path: str, module: nn.Module) -> list[Instruction]:
        """The beginning and the end of a module."""
        kind, symbol = type(module).__name__, self._anatomy.name_of(path)
        source = source_of_class(type(module))
        return [
            Instruction(self._regions.address(path, "before"), f"enter {kind}", symbol, source, False),
            Instruction(self._regions.address(path, "after"), f"leave {kind}", symbol, source, False),
        ]


class _Listing(OperationTrace):
    """Ends with the call of the model that the suspended one lies in. Keeps rows of the operations, not them."""

    def __init__(self, suspended: Activation | None, regions: Regions, anatomy: Anatomy) -> None:
        super().__init__(suspended, regions=regions)
        self._anatomy = anatomy
        self.rows: dict[int, Instruction] = {}
        """By address."""

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        super().ends(path, module, output)
        if not path and self.found is not None:
            raise Enough

    def ran(self, operation: Operation) -> None:
        site = operation.site
        text, source = instruction_text(operation), caller_source(operation.caller)
        self.rows[site.address] = Instruction(site.address, text, self._anatomy.name_of(site.path), source)

    def _write_down(self, operation: Operation) -> None:
        pass


def instruction_text(operation: Operation) -> str:
    """`aten::addmm  f32[192] f32[6, 192] f32[192, 192] → f32[6, 192]`."""
    given = [_short(value) for value in operation.args]
    given.extend(f"{name}={_short(value)}" for name, value in operation.kwargs.items() if value is not None)
    return f"{operation.full_name}  {' '.join(given)} → {_short(operation.result)}".replace("   ", "  ")


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{_dtype(value.dtype)}[{','.join(map(str, value.shape))}]"
    if isinstance(value, torch.dtype):
        return _dtype(value)
    if isinstance(value, list | tuple):
        shown = [_short(item) for item in value[:MAX_LISTED]] + (["…"] if len(value) > MAX_LISTED else [])
        return f"[{','.join(shown)}]" if isinstance(value, list) else f"({', '.join(shown)})"
    return f"{value:g}" if isinstance(value, float) else str(value)


@functools.cache
def _dtype(dtype: torch.dtype) -> str:
    """`f32`, `bf16`, `i64`, as compilers write them."""
    name = str(dtype).removeprefix("torch.")
    for long, short in (("bfloat", "bf"), ("float", "f"), ("complex", "c"), ("uint", "u"), ("int", "i")):
        if name.startswith(long):
            return short + name.removeprefix(long)
    return name


def caller_source(frame: FrameType | None) -> SourceLine | None:
    """The line that calls an operation: the innermost one outside of torch and of what transformers wraps calls in."""
    while frame is not None and _is_machinery(frame.f_code.co_filename):
        frame = frame.f_back
    return SourceLine(frame.f_code.co_filename, frame.f_lineno) if frame is not None else None


def _folder(package: ModuleType) -> str:
    return os.path.dirname(str(package.__file__)) + os.sep


_MACHINERY = (_folder(torch), os.path.join(_folder(transformers), "utils") + os.sep, "<")


@functools.cache
def _is_machinery(file: str) -> bool:
    return file.startswith(_MACHINERY)
