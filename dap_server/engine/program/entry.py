"""Stopping a program before its first line, without tracing it: its code begins with a call of ours on that line."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from types import CodeType, FrameType

_entered: list[Callable[[FrameType], None]] = []


def with_entry(source: str | bytes, path: str, entered: Callable[[FrameType], None]) -> CodeType:
    """The code of a module that calls `entered` with its frame, once, before its first statement.

    A docstring and imports from `__future__` stay in front: they are no statements that run.
    """
    tree = ast.parse(source, path)
    index = next((i for i, statement in enumerate(tree.body) if not _is_prologue(statement, i)), len(tree.body))
    call = ast.parse(f"__import__('{__name__}', fromlist=['']).reached()").body[0]
    if tree.body:
        here = tree.body[min(index, len(tree.body) - 1)]
        for node in ast.walk(call):
            ast.copy_location(node, here)
            if isinstance(node, ast.expr | ast.stmt):
                node.end_lineno, node.end_col_offset = node.lineno, node.col_offset
    tree.body.insert(index, call)
    _entered.append(entered)
    return compile(tree, path, "exec", dont_inherit=True)


def reached() -> None:
    """What that code calls."""
    _entered.pop()(sys._getframe(1))


def _is_prologue(statement: ast.stmt, index: int) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "__future__"
    is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return index == 0 and is_text and isinstance(statement.value.value, str)  # type: ignore[attr-defined]  # an Expr
