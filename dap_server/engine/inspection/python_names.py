"""The names of a Python frame: seen, and given other values where the frame still runs."""

from __future__ import annotations

import ctypes
import sys
import types
from collections.abc import Mapping, Set
from types import FrameType
from typing import Any

from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.hovering import EvaluationError
from dap_server.engine.inspection.rows import Row, Rows
from dap_server.engine.inspection.variables import Positions, describe

_ROUTINES = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_KINDS = ("special variables", "function variables", "class variables", "module variables")
"""What stands together below the others, under the names that Python's debugger gives it."""


def python_of(frame: Frame | None) -> FrameType | None:
    """The Python frame that a frame is; also of a `forward` around a stop at a line of Python."""
    if frame is None:
        return None
    if frame.kind == "python":
        return frame.running
    is_by_line = frame.stop.python is not None or frame.stop.uncaught is not None
    return frame.activation.forward if frame.kind == "forward" and frame.activation and is_by_line else None


def names_of(frame: FrameType) -> dict[str, Any]:
    """All that code in a frame may use, built-in functions left out."""
    return {**frame.f_globals, **_locals(frame)}


def local_rows(frame: FrameType, positions: Positions | None) -> list[Row]:
    if _is_module_level(frame):
        return _grouped(frame.f_globals, positions)
    return [_row(name, value, positions) for name, value in _locals(frame).items() if name != "__class__"]


def global_rows(frame: FrameType) -> list[Row]:
    """Those of the frame's file; one that a local name hides cannot be named in the frame."""
    hidden = set() if _is_module_level(frame) else set(_locals(frame))
    return _grouped(frame.f_globals, None, hidden)


def has(frame: FrameType, name: str) -> bool:
    """Whether a frame has a place for a name, with a value or not."""
    return _is_local(frame, name) or name in frame.f_globals


def assign(frame: Frame, values: Mapping[str, Any]) -> dict[str, Any]:
    """Gives names of a frame other values; returns those that it has no place for.

    Raises:
        EvaluationError: the frame does not run any more, or runs just now.
    """
    python = python_of(frame)
    assert python is not None
    left: dict[str, Any] = {}
    for name, value in values.items():
        if _is_local(python, name):
            _require_standing(frame, name)
            _set_local(python, name, value)
        elif _is_module_level(python) or name in python.f_globals:
            python.f_globals[name] = value
        else:
            left[name] = value
    return left


def _require_standing(frame: Frame, name: str) -> None:
    if frame.stop.uncaught is not None:
        raise EvaluationError(f"'{name}' cannot be changed: its function is over, the exception has left it")
    if frame.is_elsewhere:
        raise EvaluationError(f"'{name}' cannot be changed: its thread runs; pause it first")


def _set_local(frame: FrameType, name: str, value: object) -> None:
    """Before Python 3.13 local names of a function are seen through a copy, which has to be put back."""
    frame.f_locals[name] = value
    if sys.version_info < (3, 13):
        ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


def _locals(frame: FrameType) -> dict[str, Any]:
    return dict(frame.f_locals)


def _is_module_level(frame: FrameType) -> bool:
    return frame.f_locals is frame.f_globals


def _is_local(frame: FrameType, name: str) -> bool:
    code = frame.f_code
    if name in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
        return True
    return not _is_module_level(frame) and name in frame.f_locals  # of a class that is being defined


def _grouped(values: Mapping[str, Any], positions: Positions | None, hidden: Set[str] = frozenset()) -> list[Row]:
    """Values first; what the file is made of stands behind them, together."""
    kinds: dict[str, list[tuple[str, Any]]] = {kind: [] for kind in ("", *_KINDS)}
    for name, value in list(values.items()):
        kinds[_kind(name, value)].append((str(name), value))

    def rows(members: list[tuple[str, Any]]) -> list[Row]:
        return [_row(name, value, positions, name not in hidden) for name, value in members]

    def group(kind: str, members: list[tuple[str, Any]]) -> Row:
        return Row(kind, "", "", Rows(lambda: rows(members)))

    values_first = rows(kinds.pop(""))
    return [*values_first, *(group(kind, members) for kind, members in kinds.items() if members)]


def _kind(name: str, value: object) -> str:
    """By its type alone: an object is not asked for its class, which could run its code."""
    if name.startswith("__") and name.endswith("__"):
        return _KINDS[0]
    kind = type(value)
    if issubclass(kind, _ROUTINES):
        return _KINDS[1]
    if issubclass(kind, type):
        return _KINDS[2]
    return _KINDS[3] if issubclass(kind, types.ModuleType) else ""


def _row(name: str, value: object, positions: Positions | None, is_named: bool = True) -> Row:
    expression = name if is_named and name.isidentifier() else None
    return describe(name, value, positions, expression, is_live=True)
