"""The module tree: paths, transformer layers, where a class and its forward are written."""

from __future__ import annotations

import inspect
import linecache
import re
from typing import NamedTuple

from torch import nn


class SourceLine(NamedTuple):
    """A line of a Python file; 1-based."""

    path: str
    line: int


class Anatomy:
    """The modules of one model by path, and which of them are its layers.

    Layers are found from the tree: the largest `ModuleList` (by parameters) whose members share one kind of class is a
    stack of layers, and so is every other one of comparable weight that lies outside it (an encoder beside a decoder).
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules: dict[str, nn.Module] = dict(model.named_modules())
        self.paths: dict[nn.Module, str] = {module: path for path, module in self.modules.items()}
        self.stacks = _layer_stacks(self.modules)
        self.layer_paths: list[str] = [
            f"{stack}.{i}" if stack else str(i) for stack, n in self.stacks for i in range(n)
        ]
        self._layer_index = {path: int(path.rpartition(".")[2]) for path in self.layer_paths}

    def path_of(self, module: nn.Module) -> str | None:
        """The path of a module of this model, None for a stranger. A shared module has the first of its paths."""
        return self.paths.get(module)

    def name_of(self, path: str) -> str:
        """How a module is called in a stack: its path, or the class for the whole model."""
        return path or type(self.model).__name__

    def layer_of(self, path: str) -> int | None:
        """Index of the layer that a path is or lies in."""
        while path:
            if path in self._layer_index:
                return self._layer_index[path]
            path = path.rpartition(".")[0]
        return None

    def is_written_at(self, path: str, file: str, line: int) -> bool:
        """Whether a line lies in the `forward` of a module's class."""
        source = source_of_class(type(self.modules[path]))
        code = getattr(forward_of(type(self.modules[path])), "__code__", None)
        if source is None or code is None or source.path != file:
            return False
        last = max((at for _, _, at in code.co_lines() if at is not None), default=source.line)
        return source.line <= line <= last

    def earlier_layers(self, path: str) -> list[str]:
        """Paths of the layers that have run before the module at `path`, nearest first.

        Inside a stack these are the layers below. Elsewhere registration order decides whether the stack lies behind,
        which holds for what stands around a stack (embedding, final norm, head).
        """
        for stack, count in self.stacks:
            prefix = f"{stack}." if stack else ""
            if path.startswith(prefix) and path[len(prefix) :].partition(".")[0].isdigit():
                index = int(path[len(prefix) :].partition(".")[0])
                return [f"{prefix}{i}" for i in reversed(range(min(index, count)))]
        order = list(self.modules)
        if path not in self.modules or not self.layer_paths:
            return []
        behind = [layer for layer in self.layer_paths if order.index(layer) < order.index(path)]
        return list(reversed(behind))


def _layer_stacks(modules: dict[str, nn.Module]) -> list[tuple[str, int]]:
    candidates = [
        (path, module, sum(p.numel() for p in module.parameters()))
        for path, module in modules.items()
        if isinstance(module, (nn.ModuleList, nn.Sequential)) and len(module) > 0 and _repeats(module)
    ]
    if not candidates:
        return []
    largest = max(size for _, _, size in candidates)
    stacks: list[tuple[str, int]] = []
    for path, module, size in candidates:
        inside = any(path.startswith(f"{outer}.") for outer, _ in stacks)
        if not inside and size >= largest / 10:
            stacks.append((path, len(module)))
    return stacks


def _repeats(module: nn.ModuleList | nn.Sequential) -> bool:
    """Whether the members are blocks of one family: a hybrid model alternates a few classes of its own."""
    if any(not list(block.children()) for block in module):
        return False
    if isinstance(module, nn.ModuleList):
        return True
    return len({type(block) for block in module}) == 1 and len(module) > 1


def source_of_class(kind: type[nn.Module]) -> SourceLine | None:
    """Where the `forward` of a module class is defined: its file and the line of `def forward`."""
    if kind not in _sources:
        _sources[kind] = _find_source(kind)
    return _sources[kind]


_sources: dict[type[nn.Module], SourceLine | None] = {}


def _find_source(kind: type[nn.Module]) -> SourceLine | None:
    return source_of_function(forward_of(kind))


def source_of_function(function: object) -> SourceLine | None:
    """The line of a function's `def`, without its decorators; None for what is not written in Python."""
    code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
    if code is None:
        return None
    line: int = code.co_firstlineno
    while text := linecache.getline(code.co_filename, line):  # decorators come first
        if re.match(r"\s*(async\s+)?def\s", text):
            return SourceLine(code.co_filename, line)
        line += 1
    return SourceLine(code.co_filename, code.co_firstlineno)


def forward_of(kind: type[nn.Module]) -> object:
    """The `forward` as its author wrote it, without decorators."""
    return inspect.unwrap(kind.forward)
