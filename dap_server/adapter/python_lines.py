"""Breakpoints on lines of Python files: what the adapter knows of them. debugpy finds them, beside the model."""

from __future__ import annotations

import os

from dap_server.adapter.wanted import Wanted
from dap_server.protocol.types import SourceBreakpoint


def of_python_line(breakpoint: SourceBreakpoint, path: str) -> Wanted:
    """One on a line of a file. Its condition is an expression of Python, which debugpy judges in the frame."""
    return Wanted(
        "python",
        f"{breakpoint.line}:{breakpoint.column or ''}",
        os.path.abspath(path),
        condition=breakpoint.condition or None,
        hit_condition=breakpoint.hit_condition or None,
        log_message=breakpoint.log_message or None,
        file=os.path.abspath(path),
        line=breakpoint.line,
    )
