"""A step's operations, found by running it again: what is listed, and what one goes back to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, NamedTuple

from torch import nn

from dap_server.engine.anatomy.regions import Regions
from dap_server.engine.execution.generation import Tape
from dap_server.engine.execution.operations import DispatchMode, Function, Operation, Site, Whereabouts, operation_name
from dap_server.engine.execution.probes import TraceProbe, same_tensors
from dap_server.modelmap.places import Phase


class Traced(NamedTuple):
    """One operation of a step that ran again.

    Attributes:
        occurrence: of the module whose code called it.
        events: how many places of modules and of token selection the step had passed.
        parent: index, among these, of the beginning of that module call.
    """

    name: str
    full_name: str
    site: Site
    occurrence: int
    events: int
    parent: int


@dataclass
class OperationTrace(TraceProbe):
    """Writes down the operations of a step beside its places.

    Attributes:
        suspended_operation: an operation that has not run, to be found among those that run again: at the same address
            and given the same, to the last bit.
        found_operation: its ordinal.
        passed: called before and after every operation; what it runs itself is not written down.
    """

    regions: Regions | None = None
    suspended_operation: Operation | None = None
    found_operation: int | None = None
    operations: list[Traced] = field(default_factory=list)
    passed: Callable[[Operation, Traced, Phase], None] | None = None

    def __post_init__(self) -> None:
        assert self.regions is not None
        self._where = Whereabouts(self.regions)
        self._where.step_begins()
        self._is_comparing = False

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if self.is_deaf:
            return
        self._is_comparing = True  # which takes operations too
        super().begins(path, module, call)
        self._is_comparing = False
        self._where.begins(path, call)

    def run(self, tape: Tape, step: int) -> None:
        with DispatchMode(self._called):
            tape.replay(step, self)

    def _called(self, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any], caller: FrameType) -> Any:
        is_own = self.is_deaf or self._is_comparing
        site = None if is_own else self._where.next_operation(caller)
        if site is None:
            return function(*args, **kwargs)
        operation = Operation(function, args, kwargs, site, caller)
        traced = self._write_down(operation)
        self._pass(operation, traced, "before")
        operation.result = function(*args, **kwargs)
        self._pass(operation, traced, "after")
        self.ran(operation)
        return operation.result

    def ran(self, operation: Operation) -> None:
        """An operation has its result."""

    def _pass(self, operation: Operation, traced: Traced | None, phase: Phase) -> None:
        if self.passed is not None and traced is not None:
            with self._deaf():
                self.passed(operation, traced, phase)

    def _write_down(self, operation: Operation) -> Traced | None:
        parent, site = self._open[-1], operation.site
        occurrence = self.events[parent].occurrence
        names = operation_name(operation.function)
        traced = Traced(*names, site, occurrence, len(self.events), parent)
        self.operations.append(traced)
        if self.found_operation is None and self._is_suspended(operation):
            self.found_operation = site.ordinal
        return traced

    def _is_suspended(self, operation: Operation) -> bool:
        suspended = self.suspended_operation
        if suspended is None or suspended.function is not operation.function:
            return False
        if suspended.site.path != operation.site.path or suspended.site.address not in (0, operation.site.address):
            return False
        if suspended.site.ordinal:
            return suspended.site.ordinal == operation.site.ordinal
        return same_tensors((suspended.args, suspended.kwargs), (operation.args, operation.kwargs))
