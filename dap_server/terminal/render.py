"""Pictures of what an adapter answers: bodies in, rich renderables out. Asks nothing and prints nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from dap_server.protocol.events import StoppedEventBody
from dap_server.protocol.types import Breakpoint, Scope, StackFrame, Thread, Variable

HISTORY = "dim"
CURRENT = "bold"
NAME = "cyan"
ALARM = "bold red"
NAME_WIDTH = 60
"""Of the frames of a stack, which leaves room for where they stand."""
_PHASE = re.compile(r"(?P<name>.*) \((?P<phase>before|after)\)")
_REQUEST = re.compile(r"^'llm/\w+': ")
_ARGUMENT = re.compile(r"[,:]? at `\$[^`]*`")


def stop_line(
    stopped: StoppedEventBody, frames: Sequence[StackFrame], names: Mapping[int, str], anomaly: str | None = None
) -> Text:
    """`stopped before model.layers.3 · step 0 (prefill) · function breakpoint *.layers.3`.

    Args:
        names: of breakpoints, by id.
        anomaly: what has been caught.
    """
    line = Text("stopped ", CURRENT) + Text(place(frames), f"{CURRENT} {NAME}")
    if frames and (frames[0].can_restart is False or frames[0].name.endswith(".forward")):
        line.append(" · ", HISTORY).append(location(frames[0]))
    if step := step_of(frames):
        line.append(" · ", HISTORY).append(step)
    if reason := anomaly or reason_of(stopped, names):
        line.append(" · ", HISTORY).append(reason, ALARM if anomaly else "")
    return line


def place(frames: Sequence[StackFrame]) -> str:
    """Where the first of some frames stands: `before model.layers.3` for the frame `model.layers.3 (before)`.

    The frame of an operation is followed by that of its module: `at aten::mm in model.layers.3.mlp.up_proj`.
    """
    if not frames:
        return "somewhere"
    name = frames[0].name
    if "::" in name and len(frames) > 1:
        operation, _, behind = name.partition(" ")
        return f"{'after' if behind else 'at'} {operation} in {frames[1].name}"
    match = _PHASE.fullmatch(name)
    return f"{match['phase']} {match['name']}" if match else f"{'at' if name.startswith('step ') else 'in'} {name}"


def step_of(frames: Sequence[StackFrame]) -> str | None:
    """The generation step that the first of some frames belongs to; None if it is one itself."""
    steps = [index for index, frame in enumerate(frames) if frame.name.startswith("step ")]
    return frames[steps[0]].name if steps and steps[0] > 0 else None


def reason_of(stopped: StoppedEventBody, names: Mapping[int, str]) -> str | None:
    """Why, for people: nothing for a step, which they asked for."""
    hit = [names[i] for i in stopped.hit_breakpoint_ids or () if i in names]
    if stopped.reason == "step":
        return None
    if stopped.reason == "data breakpoint" and stopped.description:
        return stopped.description.removeprefix("data breakpoint: ")
    if hit and stopped.reason != "exception":
        return f"{stopped.reason} {', '.join(hit)}"
    text, more = stopped.description or stopped.reason, stopped.text or ""
    if stopped.reason == "exception":
        return text if more in text else f"{text}: {more}"
    return text.removesuffix(more).rstrip(": ") or stopped.reason  # `more` is the place, which the line has already


def stack(frames: Sequence[StackFrame], selected: int, more: bool = False) -> RenderableType:
    """One line per frame: the selected one marked, history dimmed, a label as a rule."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True, min_width=3)
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    table.add_column(no_wrap=True, overflow="ellipsis", style=HISTORY)
    for index, frame in enumerate(frames):
        if frame.presentation_hint == "label":
            table.add_row("", Text(f"── {frame.name} ──", HISTORY), "")
            continue
        is_selected = index == selected
        style = CURRENT if is_selected else HISTORY if frame.presentation_hint == "subtle" else ""
        mark = f"{'▸' if is_selected else ' '} {index}"
        table.add_row(Text(mark, style), Text(frame.name, style), location(frame))
    if more:
        table.add_row("", Text("… more: stack all", HISTORY), "")
    return table


def frame_line(frame: StackFrame, index: int) -> Text:
    return Text(f"▸ {index} ") + Text(frame.name, CURRENT) + Text(f"  {location(frame)}", HISTORY)


def location(frame: StackFrame) -> str:
    if frame.source is None:
        return ""
    name = frame.source.name or (frame.source.path or "").rpartition("/")[2]
    return f"{name}:{frame.line}"


def rows(heading: Text | str, variables: Sequence[Variable], more: str | None = None) -> Tree:
    """Variables below a heading, values aligned, one line each.

    Args:
        more: said at the end when these are not all.
    """
    tree = Tree(heading if isinstance(heading, Text) else Text(heading, CURRENT), guide_style=HISTORY)
    width = min(max((len(variable.name) for variable in variables), default=0), 36)
    for variable in variables:
        tree.add(variable_line(variable, width))
    if more:
        tree.add(Text(more, HISTORY))
    return tree


def heading(path: str, value: str = "") -> Text:
    """What a variable is, above what is in it."""
    return Text(path, CURRENT, no_wrap=True, overflow="ellipsis") + Text(
        f"  {' '.join(value.splitlines())}" if value else ""
    )


def variable_line(variable: Variable, width: int = 0) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(variable.name.ljust(width), NAME).append("  ").append(" ".join(variable.value.splitlines()))
    return line


def closed_scope(scope: Scope) -> Tree:
    """A scope that is not opened, with how to open it."""
    count = scope.indexed_variables or scope.named_variables
    size = f"  {count} rows" if count else ""
    return Tree(Text(scope.name, CURRENT) + Text(f"{size}  (v {scope.name})", HISTORY))


def threads(items: Sequence[Thread], current: int) -> Text:
    return _lines(
        Text(
            f"{'▸' if thread.id == current else ' '} {thread.id}  {thread.name}",
            CURRENT if thread.id == current else "",
        )
        for thread in items
    )


def breakpoints(
    names: Sequence[str],
    states: Sequence[Breakpoint],
    first: int = 1,
    caught: Mapping[str, Breakpoint] | None = None,
) -> Text:
    """The list that `delete` counts in, from the number `first`; below it what else stops the run."""
    lines = []
    numbered = [(str(number), *pair) for number, pair in enumerate(zip(names, states, strict=True), start=first)]
    for number, name, state in [*numbered, *((" ", *pair) for pair in (caught or {}).items())]:
        line = Text(f"{number}  ") + Text(name, NAME)
        if not state.verified:
            pending = state.reason == "pending"
            line.append(f"  {'waits for the model' if pending else 'not set'}", HISTORY if pending else "yellow")
        if state.message:
            line.append(f"  {state.message}", HISTORY)
        lines.append(line)
    return _lines(lines if numbered else [Text("no breakpoints", HISTORY), *lines])


def error(text: str) -> Text:
    """One line, whatever came, without the names of a request and its arguments: who types a command knows neither."""
    plain = _ARGUMENT.sub("", _REQUEST.sub("", " ".join(text.split())))
    return Text(f"error: {plain}", "red")


def note(text: str) -> Text:
    return Text(text, HISTORY)


def together(parts: Iterable[RenderableType]) -> Group:
    return Group(*parts)


def _lines(lines: Iterable[Text]) -> Text:
    return Text("\n").join(lines)
