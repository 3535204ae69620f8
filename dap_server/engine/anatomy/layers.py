"""Which modules of a model are its layers: the largest blocks that repeat, found from the tree alone."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

COMPARABLE = 1 / 10
"""A stack with this share of the largest one's parameters is one too: an encoder beside a decoder."""


def layer_stacks(modules: dict[str, nn.Module]) -> list[list[str]]:
    """The paths of the layers of every stack, in the order of the tree.

    Blocks repeat as a `ModuleList` (whose members may be of several classes: a hybrid model), or as children of one
    class beside each other that are numbered: in a `Sequential`, or `block1`, `block2`. The stack with most parameters
    counts, and every other one of comparable weight that lies outside it. Blocks have modules of their own; where
    nothing else repeats, as in a plain perceptron, single modules with parameters are the layers.
    """
    groups = [group for path, module in modules.items() for group in _repeated(path, module)]
    blocks = [group for group in groups if all(any(modules[path].children()) for path in group)]
    sizes = {id(group): _parameters(modules, group) for group in groups}
    candidates = [group for group in blocks or groups if sizes[id(group)] or blocks]
    if not candidates:
        return []
    least = COMPARABLE * max(sizes[id(group)] for group in candidates)
    stacks: list[list[str]] = []
    for group in candidates:
        if sizes[id(group)] >= least and not any(_lies_in(group[0], stack) for stack in stacks):
            stacks.append(group)
    return stacks


def _repeated(path: str, module: nn.Module) -> Iterator[list[str]]:
    """The groups of a module's children that repeat, by path."""
    prefix = f"{path}." if path else ""
    if isinstance(module, nn.ModuleList):
        if members := list(_members(path, module)):
            yield members
        return
    groups: dict[tuple[str, type[nn.Module]], list[str]] = {}
    for name, child in module.named_children():
        stem = name.rstrip("0123456789")
        if stem != name and not isinstance(child, nn.ModuleList):
            groups.setdefault((stem, type(child)), []).append(prefix + name)
    yield from (group for group in groups.values() if len(group) > 1)


def _members(path: str, members: nn.ModuleList) -> Iterator[str]:
    """Of a list, and of lists in it: a model in stages."""
    for name, member in members.named_children():
        inner = f"{path}.{name}" if path else name
        if isinstance(member, nn.ModuleList):
            yield from _members(inner, member)
        else:
            yield inner


def _lies_in(path: str, stack: list[str]) -> bool:
    return any(path == layer or path.startswith(f"{layer}.") for layer in stack)


def _parameters(modules: dict[str, nn.Module], group: list[str]) -> int:
    return sum(parameter.numel() for path in group for parameter in modules[path].parameters())
