"""From `Inputs.hidden_states[0][10:20]` to the variable that it means, by asking level by level."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from dap_server.protocol.errors import did_you_mean
from dap_server.protocol.types import Scope, Variable
from dap_server.terminal.errors import CommandError

PAGE = 20

_INDEX = re.compile(r"\[(-?\d+)\]")
_SLICE = re.compile(r"\[(\d*):(\d*)\]$")

Fetch = Callable[..., list[Variable]]
"""`variables(reference, filter=…, start=…, count=…)`."""


class PathError(CommandError):
    """No such variable; the text says what there is."""


class Node(NamedTuple):
    """A variable or scope that was found, as far as it opens.

    Attributes:
        path: that leads here, without a slice.
        value: of a variable; empty for a scope.
        indexed: how many children have numbers.
        memory: reference of the bytes of a tensor.
        first, limit: the page of them that the path asks for.
    """

    path: str
    value: str
    reference: int
    named: int | None
    indexed: int
    first: int = 0
    limit: int = PAGE
    memory: str | None = None


class Opened(NamedTuple):
    """The children of a node: all named ones, and a page of those with numbers."""

    variables: list[Variable]
    more: str | None
    """How to see the rest."""


def find(path: str, scopes: Sequence[Scope], fetch: Fetch) -> Node:
    """Names are matched as they are written, scopes also in lower case; the scope may be left out.

    Raises:
        PathError: there is nothing of that name.
    """
    path = path.strip()
    window = _SLICE.search(path)
    first, limit = _page(window)
    bare = path[: window.start()] if window else path
    return _find(bare, scopes, fetch)._replace(first=first, limit=limit)


def open_node(node: Node, fetch: Fetch) -> Opened:
    """One level below a node."""
    if not node.reference:
        return Opened([], None)
    if not node.indexed:
        return Opened(fetch(node.reference), None)
    named = [] if node.named == 0 or node.first else fetch(node.reference, filter="named")
    indexed = fetch(node.reference, filter="indexed", start=node.first, count=node.limit)
    end = node.first + len(indexed)
    rest = node.indexed - end
    more = f"… {rest:,} more: v {node.path}[{end}:{min(end + PAGE, node.indexed)}]" if rest > 0 else None
    return Opened([*named, *indexed], more)


def of_scope(scope: Scope) -> Node:
    return Node(scope.name, "", scope.variables_reference, scope.named_variables, scope.indexed_variables or 0)


def _find(path: str, scopes: Sequence[Scope], fetch: Fetch) -> Node:
    for scope in sorted(scopes, key=lambda scope: -len(scope.name)):
        if (rest := _after(path, scope.name, ignore_case=True)) is not None:
            return _descend(of_scope(scope), rest, fetch)
    for scope in scopes:
        if scope.expensive or scope.indexed_variables:
            continue
        if (found := _child(fetch(scope.variables_reference), path)) is not None:
            variable, rest = found
            return _descend(_of(variable, f"{scope.name}.{variable.name}"), rest, fetch)
    names = [scope.name for scope in scopes]
    raise PathError(f"no variable '{path}' here{did_you_mean(path, names)}; scopes: {', '.join(names) or 'none'}")


def _descend(node: Node, rest: str, fetch: Fetch) -> Node:
    while rest:
        if (index := _INDEX.match(rest)) and node.indexed:
            position = int(index[1])
            node = _element(node, position if position >= 0 else node.indexed + position, fetch)
            rest = rest[index.end() :]
            continue
        children = fetch(node.reference, **({"filter": "named"} if node.indexed else {})) if node.reference else []
        found = _child(children, rest.removeprefix("."))
        if found is None:
            names = [child.name for child in children]
            raise PathError(f"no '{rest.removeprefix('.')}' in {node.path}{did_you_mean(rest.strip('.'), names)}")
        variable, rest = found
        node = _of(variable, _joined(node.path, variable.name))
    return node


def _element(node: Node, position: int, fetch: Fetch) -> Node:
    if not 0 <= position < node.indexed:
        raise PathError(f"{node.path} has {node.indexed} elements, counted from 0")
    (variable,) = fetch(node.reference, filter="indexed", start=position, count=1)
    return _of(variable, _joined(node.path, variable.name))


def _child(children: Sequence[Variable], path: str) -> tuple[Variable, str] | None:
    """The child that a path begins with, the one with the longest name, and what is left of the path."""
    for child in sorted(children, key=lambda child: -len(child.name)):
        if (rest := _after(path, child.name)) is not None:
            return child, rest
    return None


def _after(path: str, name: str, ignore_case: bool = False) -> str | None:
    """What follows a name at the start of a path; None if the path does not start with it."""
    head, rest = path[: len(name)], path[len(name) :]
    same = head.lower() == name.lower() if ignore_case else head == name
    return rest if same and (not rest or rest[0] in ".[") else None


def _of(variable: Variable, path: str) -> Node:
    return Node(
        path,
        variable.value,
        variable.variables_reference,
        variable.named_variables,
        variable.indexed_variables or 0,
        memory=variable.memory_reference,
    )


def _joined(path: str, name: str) -> str:
    return f"{path}{name}" if name.startswith("[") else f"{path}.{name}"


def _page(window: re.Match[str] | None) -> tuple[int, int]:
    if window is None:
        return 0, PAGE
    start = int(window[1] or 0)
    return start, max(int(window[2]) - start, 1) if window[2] else PAGE
