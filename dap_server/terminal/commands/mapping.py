"""The model map."""

from __future__ import annotations

import os

from dap_server.modelmap.text import SUFFIX, MapText, read_map
from dap_server.protocol.errors import did_you_mean
from dap_server.protocol.types import StackFrame
from dap_server.terminal import map_view
from dap_server.terminal.breakpoints import lines_in
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

LINES = 24


@command(
    "map",
    "m",
    usage="[LINES|PATH]",
    help="the model map around here, or around another place: its lines can be broken at, break :12",
    needs="supports_loaded_sources_request",
)
def map_(debugger: Debugger, argument: str) -> None:
    debugger.require_stop()
    frame = _frame_on_map(debugger)
    file = frame.source.path if frame is not None and frame.source is not None else debugger.map_in_use()
    if file is None:
        raise CommandError("this session has no map: the debug console says why")
    content = debugger.client.source(file)
    lines, text = content.splitlines(), read_map(content)
    here, is_after = (frame.line, frame.column > text.columns(frame.line)[0]) if frame is not None else (0, False)
    count = int(argument) if argument.isdigit() and argument != "0" else LINES
    center = here if not argument or argument.isdigit() else _line_of(argument, text)
    first = max(1, min(center - count // 3, len(lines) - count + 1))
    shown = range(first, min(first + count, len(lines) + 1))
    debugger.screen.show(map_view.view(lines, shown, here, is_after, _breakpoints(debugger, file, text)))


def _frame_on_map(debugger: Debugger) -> StackFrame | None:
    """The frame that is looked at; for one of Python the one that it belongs to."""
    above, below = debugger.frames[: debugger.selected], debugger.frames[debugger.selected :]
    nearest = [below[0], *reversed(above), *below[1:]]  # a module stands above its `forward`
    return next((f for f in nearest if f.source is not None and (f.source.path or "").endswith(SUFFIX)), None)


def _line_of(place: str, text: MapText) -> int:
    line = text.line_of("" if place == "." else place)
    if line is None:
        raise CommandError(f"no line of the map is '{place}'{did_you_mean(place, text.numbers)}")
    return line


def _breakpoints(debugger: Debugger, file: str, text: MapText) -> dict[int, bool]:
    """The lines that have some, and whether they are verified."""
    found: dict[int, bool] = {}
    for breakpoint, state in zip(debugger.breakpoints, debugger.states, strict=True):
        for line in lines_in(breakpoint, state, os.path.abspath(file), text):
            found[line] = found.get(line, False) or state.verified
    return found
