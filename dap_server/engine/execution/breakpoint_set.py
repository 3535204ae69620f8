"""The breakpoints in force, by where they stand."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import REASONS, Breakpoint, Kind
from dap_server.engine.execution.costs import Cost, HookCost
from dap_server.engine.execution.operations import Site
from dap_server.engine.execution.reasons import HIT, RAISED
from dap_server.modelmap.places import Phase


class Places:
    """Where breakpoints stand."""

    def __init__(self, breakpoints: list[Breakpoint], modules: Mapping[str, nn.Module] = MappingProxyType({})) -> None:
        self.are_all_plain = all(b.is_plain for b in breakpoints)
        self._modules: dict[tuple[nn.Module, Phase], list[int]] = {}
        self._pseudo: dict[tuple[str, Phase], list[int]] = {}
        self._operations = [b for b in breakpoints if b.operations or b.address]
        for breakpoint in breakpoints:
            for name, phase in breakpoint.pseudo_places:
                self._pseudo.setdefault((name, phase), []).append(breakpoint.id)
            for path, phase in breakpoint.module_places:
                self._modules.setdefault((modules[path], phase), []).append(breakpoint.id)
        self.prepared = {modules[path] for b in breakpoints if b.hears_calls and not b.operations for path in b.paths}
        """Modules with a condition at the end of their calls that has to hear of them from their beginning."""

    @property
    def modules(self) -> list[tuple[nn.Module, Phase]]:
        """Where hooks are needed."""
        return list(self._modules)

    @property
    def has_pseudo(self) -> bool:
        return bool(self._pseudo)

    @property
    def has_operations(self) -> bool:
        return bool(self._operations)

    @property
    def are_none(self) -> bool:
        return not (self._modules or self._pseudo or self._operations)

    def at_module(self, module: nn.Module, phase: Phase) -> list[int]:
        return self._modules.get((module, phase), [])

    def at_pseudo(self, name: str, phase: Phase) -> list[int]:
        return self._pseudo.get((name, phase), [])

    def at_operation(self, name: str, full_name: str, site: Site, phase: Phase) -> list[int]:
        """`name` without, `full_name` with the overload."""
        return [
            b.id
            for b in self._operations
            if b.phase == phase
            and (b.address == site.address if b.address else name in b.operations or full_name in b.operations)
            and (not b.paths or any(path in b.paths for path in site.modules))
        ]


class BreakpointSet:
    """All breakpoints, and their places: of those that are judged where they are passed, and of all of them."""

    def __init__(self) -> None:
        self.all: list[Breakpoint] = []
        self.counts_on = False
        """Whether hits are counted through all calls, as those of a program are."""
        self.by_id: dict[int, Breakpoint] = {}
        """Those that can be hit."""
        self.everywhere = self.at_once = Places([])
        """`at_once` leaves out what is found out later, from a flag that is read once a step."""

    @property
    def deferred(self) -> list[Breakpoint]:
        """Those that can be hit, and are not judged where they are passed."""
        return [b for b in self.by_id.values() if b.is_deferred]

    @property
    def errors(self) -> list[int]:
        """Those that stop where a forward raises."""
        return [b.id for b in self.by_id.values() if b.is_filter("forwardError")]

    def of(self, id: int) -> Breakpoint | None:
        """By its number, whether it can be hit or not."""
        return next((b for b in self.all if b.id == id), None)

    def replace(self, breakpoints: list[Breakpoint], anatomy: Anatomy) -> None:
        """One that is as it was before goes on counting its hits and watching, and stays off if it was."""
        before = {b.id: b for b in self.all if b.wanted is not None}
        for breakpoint in breakpoints:
            known = before.get(breakpoint.id)
            if known is not None and known.wanted == breakpoint.wanted:
                breakpoint.hits, breakpoint.is_off = known.hits, known.is_off
                breakpoint.cost, breakpoint.told_cost = known.cost, known.told_cost
                breakpoint.watch = known.watch
                breakpoint.problem = known.problem if known.is_off else breakpoint.problem
        self._place(breakpoints, anatomy)

    def switch_off(self, breakpoint: Breakpoint, why: str, anatomy: Anatomy) -> None:
        """Until it is set in another way."""
        breakpoint.is_off, breakpoint.problem = True, why
        self._place(self.all, anatomy)

    def count_costs(self) -> None:
        """A run begins."""
        HookCost.seconds()  # measured where nothing else runs yet
        for breakpoint in self.all:
            breakpoint.cost, breakpoint.told_cost = Cost(), None

    def step_begins(self) -> None:
        """Of the run, or of one that runs again."""
        for breakpoint in self.all:
            breakpoint.cost.step_begins()

    def tell_costs(self) -> list[Breakpoint]:
        """Those whose costs are others, in round numbers, than were told last."""
        changed = []
        for breakpoint in self.by_id.values():
            if breakpoint.cost.evaluations and (told := breakpoint.cost.text) != breakpoint.told_cost:
                breakpoint.told_cost = told
                changed.append(breakpoint)
        return changed

    def take_hits_back(self, step: int) -> None:
        """The run goes back to the start of a step."""
        for breakpoint in self.by_id.values():
            if breakpoint.hits is not None:
                breakpoint.hits.take_back(step)
            if breakpoint.watch is not None:
                breakpoint.watch.take_back(step)

    def call_ends(self) -> None:
        """What it has hit counts on in the next call, or was of a run of its own."""
        if not self.counts_on:
            self.take_hits_back(0)
            return
        for breakpoint in self.by_id.values():
            if breakpoint.hits is not None:
                breakpoint.hits.settle()
            if breakpoint.watch is not None:
                breakpoint.watch.take_back(0)

    def told(self, hits: list[int]) -> list[str]:
        """What the values that are watched have come to, of breakpoints that have just been hit."""
        watches = [b.watch for id in hits if (b := self.by_id.get(id)) is not None]
        return [watch.told for watch in watches if watch is not None]

    def reason_of(self, hits: list[int]) -> str:
        """Of a stop at these breakpoints, in DAP's words."""
        kinds: set[Kind] = {self.by_id[id].kind if id in self.by_id else "function" for id in hits}
        if "exception" in kinds:
            return RAISED
        return REASONS[kinds.pop()] if len(kinds) == 1 else HIT

    def _place(self, breakpoints: list[Breakpoint], anatomy: Anatomy) -> None:
        self.all = breakpoints
        verified = [breakpoint for breakpoint in breakpoints if breakpoint.is_verified]
        self.by_id = {b.id: b for b in verified}
        self.everywhere = Places(verified, anatomy.modules)
        at_once = [b for b in verified if not b.is_deferred]
        self.at_once = Places(at_once, anatomy.modules) if len(at_once) < len(verified) else self.everywhere
