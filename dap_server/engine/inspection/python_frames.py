"""The Python frames of a thread: which are shown, whose code they run, and around which module calls they stand."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from torch import nn

from dap_server.engine.anatomy.modules import SourceLine

_CALL = nn.Module._call_impl.__code__
_MACHINERY = {
    _CALL,
    nn.Module._wrapped_call_impl.__code__,
    *(code for code in _CALL.co_consts if isinstance(code, CodeType)),
}
"""How torch calls a `forward`: the module that is called is a frame of its own."""

_OURS = str(Path(__file__).parents[2]) + os.sep
_DEBUGGERS = tuple(f"{os.sep}{name}" for name in (f"debugpy{os.sep}", "pydevd", "_pydev"))


class PythonFrame(NamedTuple):
    """A frame and the line that it is on; of a traceback's frame, the line that raised."""

    frame: FrameType
    line: int

    @property
    def name(self) -> str:
        return self.frame.f_code.co_qualname

    @property
    def source(self) -> SourceLine:
        return SourceLine(self.frame.f_code.co_filename, self.line)

    @property
    def is_library(self) -> bool:
        """Whether it runs code of an installed package or of Python itself. The program's own file never is one."""
        if self.frame.f_globals.get("__name__") == "__main__":
            return False
        return is_library(self.frame.f_code.co_filename)


def live(frame: FrameType | None) -> Iterator[PythonFrame]:
    """The frames around a running one, itself first."""
    while frame is not None:
        yield PythonFrame(frame, frame.f_lineno or frame.f_code.co_firstlineno)
        frame = frame.f_back


def of_traceback(traceback: TracebackType | None) -> list[PythonFrame]:
    """The frames that an exception has left, the one that raised it first."""
    found: list[PythonFrame] = []
    while traceback is not None:
        found.append(PythonFrame(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return found[::-1]


def shown(frames: Iterable[PythonFrame]) -> list[PythonFrame]:
    """Those of somebody's code: without ours, those of a Python debugger, and torch's around a `forward`."""
    return [one for one in frames if one.frame.f_code not in _MACHINERY and not is_ours(one.frame.f_code.co_filename)]


def below_debugger(frame: FrameType | None) -> FrameType | None:
    """The frame that a Python debugger has suspended, seen from within what it evaluates there.

    The frame itself where no debugger is below it; frames of ours are passed over.
    """
    suspended = frame
    for one in live(frame):
        if _is_debugger(one.frame.f_code.co_filename):
            suspended = one.frame.f_back
    while suspended is not None and is_ours(suspended.f_code.co_filename):
        suspended = suspended.f_back
    return suspended


def is_ours(file: str) -> bool:
    """Whether a file belongs to this debugger, or to the Python debugger that it uses."""
    if file not in _whose:
        _whose[file] = file.startswith(_OURS) or _is_debugger(file), _is_installed(file)
    return _whose[file][0]


def is_library(file: str) -> bool:
    """Whether a file belongs to an installed package or to Python itself."""
    is_ours(file)
    return _whose[file][1]


_whose: dict[str, tuple[bool, bool]] = {}


def _is_debugger(file: str) -> bool:
    return any(part in file for part in _DEBUGGERS)


def _is_installed(file: str) -> bool:
    if file.startswith("<frozen "):
        return True
    parts = file.split(os.sep)
    return "site-packages" in parts or "dist-packages" in parts or file.startswith(_INSTALLED)


def _folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    found = {path for name in names if (path := sysconfig.get_paths().get(name))}
    found |= {*site.getsitepackages(), site.getusersitepackages()}
    found |= {os.path.realpath(path) for path in found}
    return tuple(path.rstrip(os.sep) + os.sep for path in found if path != sys.prefix)


_INSTALLED = _folders()
