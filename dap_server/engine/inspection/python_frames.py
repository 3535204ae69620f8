"""The Python frames of a thread: which are shown, whose code they run, and in which module calls they stand."""

from __future__ import annotations

import itertools
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

from torch import nn

from dap_server.engine.anatomy.modules import SourceLine
from dap_server.engine.execution.activations import outward
from dap_server.engine.execution.stops import Stop

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
    for one in outward(frame):
        yield PythonFrame(one, one.f_lineno or one.f_code.co_firstlineno)


def of_traceback(traceback: TracebackType | None) -> list[PythonFrame]:
    """The frames that an exception has left, the one that raised it first."""
    found: list[PythonFrame] = []
    while traceback is not None:
        found.append(PythonFrame(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    return found[::-1]


class PythonFrames:
    """Those of a stop that are shown, by where they stand among the frames of its model.

    Frames of ours, those of a Python debugger and torch's around a `forward` are left out. Of libraries' those are left
    out too that stand within a call of the model, or that nobody's code has called, except the one that holds the stop.
    """

    def __init__(self, stop: Stop, just_my_code: bool) -> None:
        """Without `just_my_code` nothing is a library."""
        self._stop, self._just_my_code = stop, just_my_code
        frames = list(_frames_of(stop))
        self._lines = {one.frame: one.line for one in frames}
        self._holder = frames[0].frame if frames and is_by_line(stop) else None
        inside: list[list[PythonFrame]] = [[] for _ in stop.activations]
        outside: list[PythonFrame] = []
        calls = [activation.frame for activation in stop.activations]
        for one in frames:
            depth = len(inside) - len(calls)
            if calls and one.frame is calls[0]:
                calls.pop(0)
            else:
                (inside[depth] if calls else outside).append(one)
        forwards = {activation.forward for activation in stop.activations}
        self.helpers = [[one for one in self._shown(part) if one.frame not in forwards] for part in inside]
        """Within each call of a module, in the order of the stop's activations, without its `forward`."""
        start = next((i for i, one in enumerate(outside) if is_ours(one.frame.f_code.co_filename)), len(outside))
        start = start if not stop.activations and in_call(stop) else 0
        self.on_top = self._shown(outside[:start])
        """Called by the loop that decodes, as a logits processor is: around no call of a module."""
        self.below = self._called(outside[start:])
        """Around the call of the model, or all of them where none runs."""

    def holds(self, frame: FrameType) -> bool:
        """Whether it is where the stop stands: at its line, or where it has raised, in code of the user's."""
        return frame is self._holder and not self.is_library(PythonFrame(frame, 0))

    def line_of(self, frame: FrameType) -> int:
        """The line that a frame of this stop is on."""
        return self._lines.get(frame) or frame.f_lineno

    def is_library(self, one: PythonFrame) -> bool:
        """Whether a frame is none of the user's, and not where a thread stands at a line."""
        is_at_line = self._stop.python is not None and one.frame is self._holder
        return self._just_my_code and not is_at_line and one.is_library

    def _shown(self, frames: list[PythonFrame]) -> list[PythonFrame]:
        return [
            one
            for one in frames
            if one.frame is self._holder or (is_shown(one) and not (self._just_my_code and one.is_library))
        ]

    def _called(self, frames: list[PythonFrame]) -> list[PythonFrame]:
        is_whole = is_by_line(self._stop) and not in_call(self._stop)
        return called(frames, self._just_my_code, or_all=is_whole)


def called(frames: list[PythonFrame], just_my_code: bool, or_all: bool) -> list[PythonFrame]:
    """Frames of somebody's code, as far down as the last of the user's; `or_all` where none is the user's."""
    found = [one for one in frames if is_shown(one)]
    last = max((i for i, one in enumerate(found) if not (just_my_code and one.is_library)), default=-1)
    return found if last < 0 and or_all else found[: last + 1]


def _frames_of(stop: Stop) -> Iterator[PythonFrame]:
    """The frames of the thread of a stop, from the innermost one on that can be shown."""
    if stop.uncaught is not None:
        return iter(of_traceback(stop.uncaught.traceback))
    if stop.python is not None:
        return live(stop.python)
    if stop.operation is not None:
        return live(stop.operation.caller)
    if stop.activations:
        return itertools.chain(_left(stop), live(stop.activations[0].frame))
    return live(sys._current_frames().get(stop.thread or threading.get_ident()))


def _left(stop: Stop) -> list[PythonFrame]:
    """What the innermost `forward` had called when it raised."""
    found: list[PythonFrame] = []
    for one in of_traceback(None if stop.error is None else stop.error.__traceback__):
        if one.frame is stop.activations[0].forward:
            return found
        found.append(one)
    return []


def is_by_line(stop: Stop) -> bool:
    """Whether it is a Python frame where a stop stands, and no place of a model."""
    return stop.python is not None or stop.uncaught is not None


def in_call(stop: Stop) -> bool:
    """Whether a stop stands within a call of a model."""
    return not is_by_line(stop) or bool(stop.activations) or stop.generation.tape is not None


def is_shown(one: PythonFrame) -> bool:
    """Whether it runs somebody's code: none of a debugger's, and not torch's around a `forward`."""
    return one.frame.f_code not in _MACHINERY and not is_ours(one.frame.f_code.co_filename)


def below_debugger(frame: FrameType | None) -> FrameType | None:
    """The frame that a Python debugger has suspended, seen from within what it evaluates there.

    The frame itself where no debugger is below it; frames of ours are passed over.
    """
    frames = [one.frame for one in live(frame)]
    first = next((i for i, one in enumerate(frames) if is_debugger(one.f_code.co_filename)), None)
    if first is None:
        suspended = frame
    else:  # a thread that was started under it has frames of it at the bottom too
        rest = itertools.dropwhile(lambda one: is_debugger(one.f_code.co_filename), frames[first:])
        suspended = next(rest, None)
    return next((one for one in outward(suspended) if not is_ours(one.f_code.co_filename)), None)


def is_ours(file: str) -> bool:
    """Whether a file belongs to this debugger, or to the Python debugger that it uses."""
    if file not in _whose:
        _whose[file] = file.startswith(_OURS) or is_debugger(file), _is_installed(file)
    return _whose[file][0]


def is_library(file: str) -> bool:
    """Whether a file belongs to an installed package or to Python itself."""
    is_ours(file)
    return _whose[file][1]


_whose: dict[str, tuple[bool, bool]] = {}


def is_debugger(file: str) -> bool:
    """Whether a file belongs to the Python debugger that this one uses."""
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
