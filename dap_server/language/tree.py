"""The places of a map by nesting: what lies inside of what, by their paths. Indentation means nothing to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from dap_server.modelmap.text import MapLine, MapText

MAX_NESTING = 100
"""Deeper than any model. What lies deeper still stands side by side: an outline is made, and sent, by recursion."""


@dataclass
class Node:
    """A place with those inside of it.

    Attributes:
        number: of its line, from 1.
        last: the number of the last line inside of it, its own where there is none.
    """

    number: int
    line: MapLine
    last: int
    name: str
    """Of the place inside of the one around it: `layers.0` of `model` where no line says `model.layers`."""
    children: list[Node] = field(default_factory=list)


def tree(text: MapText) -> list[Node]:
    """The places that lie in no other, in the order of their lines."""
    roots: list[Node] = []
    around: list[Node] = []
    for number, line in text.lines.items():
        while around and not _is_inside(line, around[-1].line):
            around.pop()
        parent = around[:MAX_NESTING][-1] if around else None
        name = line.path[len(parent.line.path) :].lstrip(".") if parent else line.place_name
        node = Node(number, line, number, name)
        (parent.children if parent else roots).append(node)
        for outer in around:
            outer.last = number
        around.append(node)
    return roots


def _is_inside(line: MapLine, outer: MapLine) -> bool:
    if "selection" in (line.kind, outer.kind) or not line.path:
        return False
    return not outer.path or line.path.startswith(f"{outer.path}.")
