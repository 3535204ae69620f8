"""The module tree: paths, transformer layers, where a class and its forward are written."""

from __future__ import annotations

import inspect
import linecache
import re
from typing import NamedTuple

import torch
from torch import nn

from dap_server.engine.anatomy.layers import layer_stacks
from dap_server.modelmap.places import Phase


class SourceLine(NamedTuple):
    """A line of a Python file; 1-based."""

    path: str
    line: int


class Anatomy:
    """The modules of one model by path, and which of them are its layers.

    Layers are the largest repeated blocks, as `layer_stacks` finds them. What TorchScript has compiled is left out: it
    takes no hooks, and nothing of Python runs in it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.modules: dict[str, nn.Module] = {
            path: module for path, module in model.named_modules() if not isinstance(module, torch.jit.ScriptModule)
        }
        self.paths: dict[nn.Module, str] = {module: path for path, module in self.modules.items()}
        self.stacks = layer_stacks(self.modules)
        self.layer_paths: list[str] = [path for stack in self.stacks for path in stack]
        self._trees = [(m._modules, tuple(m._modules.values())) for m in self.modules.values() if m._modules]
        self._layer_index = {path: i for stack in self.stacks for i, path in enumerate(stack)}

    @property
    def is_empty(self) -> bool:
        """Whether there is no model: it stands for one before a program has called any."""
        return type(self.model) is nn.Module

    @property
    def is_current(self) -> bool:
        """Whether the model has the modules that it had: adapters are put in the place of some."""
        return all(tuple(children.values()) == had for children, had in self._trees)

    def path_of(self, module: nn.Module) -> str | None:
        """The path of a module of this model, None for a stranger. A shared module has the first of its paths."""
        return self.paths.get(module)

    def name_of(self, path: str) -> str:
        """How a module is called in a stack: its path, or the class for the whole model."""
        return path or type(self.model).__name__

    def layer_of(self, path: str) -> int | None:
        """Index, in its stack, of the layer that a path is or lies in."""
        layer = self._layer_around(path)
        return None if layer is None else self._layer_index[layer]

    def _layer_around(self, path: str) -> str | None:
        while path:
            if path in self._layer_index:
                return path
            path = path.rpartition(".")[0]
        return None

    def stack_of(self, path: str) -> list[str]:
        """Paths of the layers of the stack that a path lies in; of the last stack when it lies in none."""
        layer = self._layer_around(path)
        return next((stack for stack in self.stacks if layer in stack), self.stacks[-1] if self.stacks else [])

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
        if (layer := self._layer_around(path)) is not None:
            return list(reversed(self.stack_of(path)[: self._layer_index[layer]]))
        order = list(self.modules)
        if path not in self.modules or not self.layer_paths:
            return []
        behind = [layer for layer in self.layer_paths if order.index(layer) < order.index(path)]
        return list(reversed(behind))

    def last_layer(self, path: str, phase: Phase) -> int | None:
        """Index, among all layers, of the one that a place is in or behind; None before the first one.

        None also at what is no module, such as the places of the selection.
        """
        layer = self._layer_around(path)
        if layer is None and phase == "after":
            layer = next((each for each in reversed(self.layer_paths) if _lies_in(each, path)), None)
        if layer is None:
            layer = next(iter(self.earlier_layers(path)), None)
        return None if layer is None else self.layer_paths.index(layer)


def is_called(module: nn.Module) -> bool:
    """A bare container has no forward of its own; its members are called instead."""
    is_container = isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict))
    return not is_container or type(module).forward is not nn.Module.forward


def _lies_in(path: str, other: str) -> bool:
    return other == "" or path.startswith(f"{other}.")


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
    """The `forward` as its author wrote it, without decorators; None of what TorchScript has compiled."""
    return inspect.unwrap(getattr(kind, "forward", None))  # type: ignore[arg-type]  # which gives None back
