"""Writing a map: columns for a person to read, the same bytes for the same model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

from dap_server.modelmap.model_map import VERSION, MapLine, ModelMap

TITLE = "# llm-dap map"
CLASSES = "# classes"

HEADER = {
    "model": "model",
    "class": "class_name",
    "task": "task",
    "dtype": "dtype",
    "parameters": "parameters",
    "transformers": "transformers",
    "flops": "counted",
    "order": "order",
}
"""The names in the text and those in `Header`."""

INTRODUCTION = (
    "# Every line is a place, in the order in which a step comes to it: its path, its class, the shapes of the first",
    "# tensor that it is given and of the first that it returns, its parameters, and the floating-point operations of",
    "# its matrix products and attention. B is the batch, T the position, S the position in the text of an encoder.",
    "# A breakpoint on a line stops before it, one at the end of the line after it. Comments are yours to add.",
)

HEADING = ("# path", "class", "in → out", "parameters", "per token", "")
_UNITS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP")
_INDENT = "  "


def write_map(model_map: ModelMap) -> str:
    """The text of a map, every line of which ends with a newline."""
    rows = [list(HEADING), *map(_row, model_map.lines)]
    classes = [f"# {name}: {module}" for name, module in sorted(model_map.classes.items())]
    table = ["", CLASSES, *classes] if classes else []
    lines = [*_header(model_map), "#", *INTRODUCTION, "", *_aligned(rows), *table]
    return "\n".join(lines) + "\n"


def rounded_flops(count: float) -> int:
    """To the three digits that a map shows."""
    digits = len(str(int(count)))
    return int(round(count, 3 - digits)) if count else 0


def written_flops(count: int) -> str:
    """`5.30 MFLOP`: three digits."""
    count = rounded_flops(count)
    unit = min((len(str(count)) - 1) // 3, len(_UNITS) - 1)
    digits = 2 - (len(str(count)) - 1) % 3 if unit else 0
    return f"{count / 1000**unit:.{digits}f} {_UNITS[unit]}"


def read_flops(text: str) -> int | None:
    """Of `5.29 MFLOP`; None for what is no such number."""
    match = re.fullmatch(r"([\d.]+) ?([kKMGTPE]?)FLOPs?", text)
    if match is None or match[1].count(".") > 1 or match[1] == ".":
        return None
    thousands: int = "_kMGTPE".index(match[2].replace("K", "k")) if match[2] else 0
    return round(float(match[1]) * 1000.0**thousands)


def written_path(path: str) -> str:
    """As it stands in a map: `.` for the whole model; characters that would end it as in an address of the web."""
    return re.sub(r"[\s#%]", lambda match: quote(match[0]), path) or "."


def _header(model_map: ModelMap) -> list[str]:
    values = {name: getattr(model_map, attribute) for name, attribute in HEADER.items()}
    texts = {name: f"{value:,}" if isinstance(value, int) else " ".join(value.split())
             for name, value in values.items() if value is not None}  # fmt: skip
    return [f"{TITLE} {VERSION}", *(f"# {name}: {text}" for name, text in texts.items() if text)]


def _row(line: MapLine) -> list[str]:
    """The fields, each in its column; what is not there is empty."""
    shapes = f"{line.inputs} → {line.output}" if line.inputs and line.output else ""
    parameters = f"{line.parameters:,}" if line.parameters is not None else ""
    flops = written_flops(line.flops) if line.flops is not None else ""
    return [_INDENT * line.depth + written_path(line.path), line.class_name, shapes, parameters, flops, line.note]


def _aligned(rows: Sequence[list[str]]) -> list[str]:
    """Columns, two spaces apart; numbers stand right. A note stands where the first empty column is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_joined(row, widths) for row in rows]


def _joined(row: list[str], widths: list[int]) -> str:
    *fields, note = row
    while fields and not fields[-1]:
        fields.pop()
    cells = [text.rjust(width) if i in (3, 4) else text.ljust(width)
             for i, (text, width) in enumerate(zip(fields, widths, strict=False))]  # fmt: skip
    return "  ".join([*cells, note] if note else cells).rstrip()
