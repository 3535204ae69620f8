"""The model map: every place of a model on a line of its own, in the order in which a step comes to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

VERSION = 1

Kind = Literal["module", "list", "unused", "selection"]
"""What a line is: a module, a list of modules, a module that is never called as one, a place of token selection."""

LISTS = ("a list of ", "a dictionary of ")
"""How the note on a list begins."""

UNUSED = "not called"
"""How the note on a module begins that is never called."""


class MapLine(NamedTuple):
    """One place.

    Attributes:
        path: dotted path of the module, empty for the whole model; or the name of a place of token selection.
        kind: as `Kind` says.
        class_name: of the module; empty for a place of token selection.
        inputs: shape of the first tensor that the module is given, `(B, T, 192)`; `()` for none; empty if not known.
        output: shape of the first tensor that it returns, likewise.
        parameters: elements of its parameters, those inside it included; None for none.
        flops: floating-point operations per token, to three digits, those inside it included; None for none.
        note: plain words: why it is not called, or which option of `generate` asks for it.
    """

    path: str
    kind: Kind
    class_name: str = ""
    inputs: str = ""
    output: str = ""
    parameters: int | None = None
    flops: int | None = None
    note: str = ""

    @property
    def place_name(self) -> str:
        """What stands on the line: the path, or `.` for the whole model."""
        return self.path or "."

    @property
    def depth(self) -> int:
        """How deep the module lies; 0 for the whole model and for token selection."""
        return self.path.count(".") + 1 if self.path and self.kind != "selection" else 0

    @property
    def can_stop(self) -> bool:
        """Whether a run ever comes to it."""
        return self.kind in ("module", "selection")

    @property
    def why_not(self) -> str:
        """Why no run comes to it; empty if one does."""
        if self.kind == "list":
            return f"'{self.place_name}' is {self.note or 'a list'}: set the breakpoint on a line inside it"
        if self.kind == "unused":
            return f"'{self.place_name}' is {self.note or UNUSED}: set the breakpoint on the module around it"
        return ""


@dataclass
class Header:
    """What a map says of its model; what it does not say is empty or None.

    Attributes:
        model: as the person named it: a folder, or an id of the hub.
        class_name: of the whole model.
        task: `causal`, `seq2seq`, `masked`, `classification`; empty for a model of another library.
        dtype: `bfloat16` …
        parameters: of the whole model, shared ones once.
        transformers: the version that built the model; empty where it had no part in it.
        counted: what operations were counted for: `per token of a text of 127 tokens`.
        order: empty where lines stand in call order; else the other order, and why.
    """

    model: str = ""
    class_name: str = ""
    task: str = ""
    dtype: str = ""
    parameters: int | None = None
    transformers: str = ""
    counted: str = ""
    order: str = ""


@dataclass
class ModelMap(Header):
    """A map as it is made of a model.

    Attributes:
        lines: from the first to the last.
        classes: the Python module in which each class is written, by the class's name.
    """

    lines: list[MapLine] = field(default_factory=list)
    classes: dict[str, str] = field(default_factory=dict)


class Problem(NamedTuple):
    """What is wrong in a text, and where: 1-based, the end not included."""

    line: int
    column: int
    end_column: int
    message: str


class Span(NamedTuple):
    """Columns of a line: 1-based, the end not included."""

    start: int
    end: int


@dataclass
class MapText(Header):
    """A map as it is read from a text.

    Attributes:
        lines: by line number, 1-based.
        classes: as in `ModelMap`.
        spans: where the fields of a line stand, by their names in `MapLine`, and `comment`; only those that are there.
        header: the line and span of each value of the header, by its name in `Header`.
        comments: what stands behind `#`, with it, by line number; on lines of their own too.
        problems: what could not be read.
        lengths: of every line, in characters; the first is line 1.
    """

    lines: dict[int, MapLine] = field(default_factory=dict)
    classes: dict[str, str] = field(default_factory=dict)
    spans: dict[int, dict[str, Span]] = field(default_factory=dict)
    header: dict[str, tuple[int, Span]] = field(default_factory=dict)
    comments: dict[int, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict, repr=False)

    def at(self, line: int) -> MapLine | None:
        """The place on a line."""
        return self.lines.get(line)

    def line_of(self, path: str) -> int | None:
        """The line of a place; the first one where it stands on several."""
        return self.numbers.get(path)

    def columns(self, line: int) -> tuple[int, int]:
        """Of a place: its first column, which means before it, and the column behind the line's end, which means after.

        Raises:
            KeyError: there is no place on the line.
        """
        return self.spans[line]["path"].start, self.lengths[line - 1] + 1

    def place_line(self, line: int) -> int | None:
        """Where a breakpoint of a line stands: on it if it says something, else on the next place that a run comes to.

        None where there is none, and where the line cannot be read.
        """
        if self.at(line) is not None:
            return line
        if any(problem.line == line for problem in self.problems):
            return None
        return min((number for number, place in self.lines.items() if number > line and place.can_stop), default=None)

    def stops(self, start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
        """Lines and columns, from `start` to `end`, where breakpoints can be: before and after each place."""
        lines = [number for number, place in self.lines.items() if place.can_stop and start[0] <= number <= end[0]]
        return [(n, column) for n in lines for column in self.columns(n) if start <= (n, column) <= end]
