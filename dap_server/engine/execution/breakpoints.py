"""Breakpoints resolved against a model: which modules and pseudo-modules they stand on."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn
from transformers.generation import logits_process

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.modelmap.patterns import Pattern, PatternError, parse_pattern
from dap_server.modelmap.places import PSEUDO_MODULES, Phase
from dap_server.protocol.errors import did_you_mean


@dataclass
class Breakpoint:
    """One breakpoint of a client, and where it stands.

    Attributes:
        paths: of the modules it matches, in tree order.
        pseudo: name of the pseudo-module it stands on.
        problem: why it cannot be hit; None when it can.
    """

    id: int
    name: str
    phase: Phase = "before"
    paths: list[str] = field(default_factory=list)
    pseudo: str | None = None
    problem: str | None = None

    @property
    def is_verified(self) -> bool:
        return self.problem is None

    @property
    def message(self) -> str | None:
        """What to tell the client beside `verified`."""
        if self.problem or self.pseudo or len(self.paths) == 1:
            return self.problem
        return f"{len(self.paths)} places"


def resolve(id: int, name: str, anatomy: Anatomy) -> Breakpoint:
    """Finds what a function breakpoint names in this model."""
    try:
        pattern = parse_pattern(name)
    except PatternError as error:
        return Breakpoint(id, name, problem=str(error))
    breakpoint = Breakpoint(id, name, pattern.phase or "before")
    if pattern.text in PSEUDO_MODULES or is_logits_processor(pattern.text):
        breakpoint.pseudo = pattern.text
        return breakpoint
    breakpoint.paths = _matching_paths(pattern, anatomy)
    if not breakpoint.paths:
        breakpoint.problem = _nothing_found(pattern, anatomy)
    return breakpoint


def is_logits_processor(name: str) -> bool:
    """Whether a name is a class that takes part in choosing a token: known before `generate` makes its list."""
    kind = getattr(logits_process, name, None)
    return isinstance(kind, type) and issubclass(kind, logits_process.LogitsProcessor)


def _matching_paths(pattern: Pattern, anatomy: Anatomy) -> list[str]:
    by_path = [path for path in anatomy.modules if path and pattern.matches_path(path)]
    if by_path:
        return [path for path in by_path if is_called(anatomy.modules[path])] or by_path
    return [path for path, module in anatomy.modules.items() if pattern.matches_class(type(module).__name__)]


def is_called(module: nn.Module) -> bool:
    """A bare container has no forward of its own; its members are called instead."""
    return not isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict))


def _nothing_found(pattern: Pattern, anatomy: Anatomy) -> str:
    classes = {type(module).__name__ for module in anatomy.modules.values()}
    known = [path for path in anatomy.modules if path] + sorted(classes) + list(PSEUDO_MODULES)
    name = type(anatomy.model).__name__
    return f"no module or class of {name} matches '{pattern.text}'{did_you_mean(pattern.text, known)}"


class BreakpointSet:
    """The breakpoints in force, by where they stand."""

    def __init__(self) -> None:
        self.all: list[Breakpoint] = []
        self._modules: dict[tuple[nn.Module, Phase], list[int]] = {}
        self._pseudo: dict[tuple[str, Phase], list[int]] = {}

    def replace(self, breakpoints: list[Breakpoint], anatomy: Anatomy) -> None:
        self.all = breakpoints
        self._modules, self._pseudo = {}, {}
        for breakpoint in breakpoints:
            if not breakpoint.is_verified:
                continue
            if breakpoint.pseudo:
                self._pseudo.setdefault((breakpoint.pseudo, breakpoint.phase), []).append(breakpoint.id)
            for path in breakpoint.paths:
                self._modules.setdefault((anatomy.modules[path], breakpoint.phase), []).append(breakpoint.id)

    @property
    def modules(self) -> list[tuple[nn.Module, Phase]]:
        """Where hooks are needed."""
        return list(self._modules)

    @property
    def has_pseudo(self) -> bool:
        return bool(self._pseudo)

    def at_module(self, module: nn.Module, phase: Phase) -> list[int]:
        return self._modules.get((module, phase), [])

    def at_pseudo(self, name: str, phase: Phase) -> list[int]:
        return self._pseudo.get((name, phase), [])
