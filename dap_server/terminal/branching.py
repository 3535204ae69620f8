"""Edits and branches as the terminal shows them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from dap_server.protocol.llm.branches import Branch
from dap_server.protocol.llm.edits import EditInfo
from dap_server.terminal import render

TOKENS = 24
"""So many of a branch's tokens are shown."""


def edits_view(edits: Sequence[EditInfo]) -> RenderableType:
    """The list, with what is wrong with an edit below it."""
    if not edits:
        return render.note("no edits in this branch")
    table = Table.grid(padding=(0, 2))
    for edit in edits:
        style = "" if edit.enabled else "dim"
        table.add_row(str(edit.id), Text(edit.text, style), "" if edit.enabled else Text("off", "dim"))
        if edit.problem:
            table.add_row("", Text(edit.problem, "yellow"), "")
    return table


def tree(branches: Sequence[Branch]) -> RenderableType:
    """Branches below those that they left; with the first prompt where another one has another."""
    has_others = len({branch.prompt for branch in branches}) > 1
    nodes: dict[int, Tree] = {}
    roots: list[Tree] = []
    for branch in sorted(branches, key=lambda one: one.id):
        parent = nodes.get(branch.parent or 0)
        nodes[branch.id] = Tree(_line(branch, has_others)) if parent is None else parent.add(_line(branch))
        if parent is None:
            roots.append(nodes[branch.id])
    return render.together(roots)


def _line(branch: Branch, with_prompt: bool = False) -> Text:
    line = Text(f"{branch.id}  ", "bold" if branch.is_present else "")
    line.append("▸ " if branch.is_present else "")
    line.append(branch.name)
    if branch.fork_step is not None:
        line.append(f" from step {branch.fork_step}", "dim")
    shown = "".join(token.text for token in branch.tokens[:TOKENS])
    more = " …" if len(branch.tokens) > TOKENS else ""
    line.append(f"  {shown!r}{more}" if branch.tokens else "", "" if branch.is_present else "dim")
    if with_prompt and branch.prompt is not None:
        line.append(f"\n     prompt = {branch.prompt!r}", "dim")
    for edit in branch.edits:
        line.append(f"\n     {edit.id}  {edit.text}{'' if edit.enabled else ' (off)'}", "dim")
    return line
