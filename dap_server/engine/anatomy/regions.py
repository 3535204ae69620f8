"""The regions of a model's code, numbered in the order in which it is written: known before anything has run.

A module calls its submodules in an order that registration does not tell. It is taken from the source of `forward`, and
only decides where an operation is listed: a region stands for the same code whatever its number.
"""

from __future__ import annotations

import ast
import inspect
import textwrap

from torch import nn

from dap_server.engine.anatomy.modules import Anatomy, forward_of
from dap_server.modelmap.addresses import address_of, split
from dap_server.modelmap.places import Phase


class Regions:
    """Where each module of one model is entered and left, as addresses."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._modules = anatomy.modules
        self._numbers: dict[tuple[str, Phase], int] = {}
        self._places: list[tuple[str, Phase]] = []
        self._number("", anatomy.model)

    def address(self, path: str, phase: Phase, number: int = 0) -> int:
        """Of an operation of the module itself (`before`), or of its caller behind it (`after`)."""
        return address_of(self._numbers[path, phase], number)

    def at(self, address: int) -> tuple[str, Phase, int] | None:
        """The module, the side of it and the number in the region; None where no region is."""
        region, number = split(address)
        return (*self._places[region - 1], number) if 1 <= region <= len(self._places) else None

    def _number(self, path: str, module: nn.Module) -> None:
        self._add(path, "before")
        called = called_in_source(type(module))
        children = [(name, child) for name, child in module.named_children()]
        for name, child in sorted(children, key=lambda item: called.get(item[0], len(called))):
            child_path = f"{path}.{name}" if path else name
            if child_path in self._modules:  # a module with two paths has its place at the first
                self._number(child_path, child)
        self._add(path, "after")

    def _add(self, path: str, phase: Phase) -> None:
        self._places.append((path, phase))
        self._numbers[path, phase] = len(self._places)  # from 1: no address is 0


def called_in_source(kind: type[nn.Module]) -> dict[str, int]:
    """The attributes that the `forward` of a class uses, numbered in the order in which they are called."""
    if kind not in _known:
        reader = _Reader(kind)
        reader.read(forward_of(kind))
        _known[kind] = {name: i for i, name in enumerate(reader.names)}
    return _known[kind]


_known: dict[type[nn.Module], dict[str, int]] = {}


class _Reader(ast.NodeVisitor):
    """Reads the code of methods in the order in which it is evaluated: arguments before the call."""

    def __init__(self, kind: type[nn.Module]) -> None:
        self.names: dict[str, None] = {}
        self._kind = kind
        self._read: set[object] = set()

    def read(self, function: object) -> None:
        if function in self._read:
            return
        self._read.add(function)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]  # or TypeError
        except (OSError, TypeError, SyntaxError):
            return  # without its source, registration order is as good as any
        self.visit(tree)

    def visit_Call(self, node: ast.Call) -> None:
        if not isinstance(node.func, ast.Attribute) or not isinstance(node.func.value, ast.Name):
            self.visit(node.func)
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.visit(argument)
        self.visit(node.func)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if not isinstance(node.value, ast.Name) or node.value.id != "self":
            return
        member = getattr(self._kind, node.attr, None)
        if inspect.isfunction(member):
            self.read(inspect.unwrap(member))
        else:
            self.names.setdefault(node.attr)
