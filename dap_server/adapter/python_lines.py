"""Breakpoints on lines of Python files: what the adapter knows of them. debugpy finds them, beside the model."""

from __future__ import annotations

import ast
import os

from dap_server.adapter.wanted import Wanted
from dap_server.conditions.errors import ConditionError
from dap_server.conditions.hits import parse_hit_condition
from dap_server.protocol.types import SourceBreakpoint


def of_python_line(breakpoint: SourceBreakpoint, path: str) -> Wanted:
    """One on a line of a file. Its condition is an expression of Python, which debugpy judges in the frame."""
    problem: str | None = None
    try:
        if breakpoint.hit_condition:
            parse_hit_condition(breakpoint.hit_condition)
        if breakpoint.condition:
            ast.parse(breakpoint.condition.strip(), mode="eval")
    except ConditionError as error:
        problem = str(error)
    except (SyntaxError, ValueError) as error:
        problem = f"the condition is no expression of Python: {error.args[0]}"
    return Wanted(
        "python",
        f"{breakpoint.line}:{breakpoint.column or ''}",
        os.path.abspath(path),
        condition=breakpoint.condition or None,
        hit_condition=breakpoint.hit_condition or None,
        log_message=breakpoint.log_message or None,
        file=os.path.abspath(path),
        line=breakpoint.line,
        problem=problem,
    )
