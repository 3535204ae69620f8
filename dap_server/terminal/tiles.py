"""Pages of numbers as tables."""

from __future__ import annotations

import base64
import math
import struct

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dap_server.protocol.llm.tensors import TensorAxis, TensorResponseBody
from dap_server.protocol.llm.tiles import Tile
from dap_server.terminal.render import CURRENT, HISTORY, NAME, together

ROWS, COLUMNS = 16, 8

_CODES = {"float32": "f", "float16": "e", "uint8": "B"}


def page_view(name: str, page: TensorResponseBody) -> RenderableType:
    """One page of a tensor: what is fixed above it, numbers below their indexes, tokens beside them."""
    shown = [axis for axis in page.axes if axis.start is not None]
    fixed = [f"{axis.name} {axis.index}" for axis in page.axes if axis.start is None]
    head = Text(name, CURRENT) + Text(f"  {page.dtype} {page.shape} {page.device}")
    head.append(f"  {', '.join(fixed)}" if fixed else "", HISTORY)
    found, blocks = numbers(page.tile), page.tile.blocks or [1] * len(page.tile.shape)
    is_table = len(shown) == 2
    columns = page.tile.shape[1] if is_table else 1
    table = Table.grid(padding=(0, 2))
    if is_table:
        table.add_row("", *(Text(label, NAME, justify="right") for label in _indexes(shown[1], blocks[1], columns)))
    for i, label in enumerate(_indexes(shown[0], blocks[0], page.tile.shape[0]) if shown else [""]):
        cells = found[i * columns : (i + 1) * columns]
        table.add_row(Text(label, NAME), *(Text(f"{number:.4g}", justify="right") for number in cells))
    notes = [f"rows {shown[0].name}, columns {shown[1].name}"] if is_table else []
    if page.tile.reduction:
        notes.append(f"each number is the one farthest from 0 of {' × '.join(map(str, blocks))}")
    return together([head, table, *([Text("; ".join(notes), HISTORY)] if notes else [])])


def cells_that_fit(page: TensorResponseBody) -> int | None:
    """How many cells to ask for instead, if a page is too wide for the screen."""
    if len(page.tile.shape) == 2 and page.tile.shape[1] > COLUMNS:
        return max(page.tile.shape[0], 1) * COLUMNS
    return ROWS if len(page.tile.shape) == 1 and page.tile.shape[0] > ROWS else None


def _indexes(axis: TensorAxis, block: int, count: int) -> list[str]:
    """What stands at the cells along an axis: the first index of each, and its token."""
    first = axis.start or 0
    texts = [f"[{first + i * block}]" for i in range(count)]
    return [f"{text} {label}" for text, label in zip(texts, axis.labels, strict=False)] if axis.labels else texts


def numbers(tile: Tile) -> list[float]:
    """The cells of a tile, row by row. NaN for what is masked or not finite in bytes."""
    data, code = base64.b64decode(tile.data), _CODES[tile.dtype]
    codes = struct.unpack(f"<{len(data) // struct.calcsize(code)}{code}", data)
    return [math.nan if tile.dtype == "uint8" and one == 255 else tile.scale * one for one in codes]


def bytes_view(data: bytes, first: int) -> Text:
    """Sixteen bytes to a line, with their offset and what they are as text."""
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        digits = " ".join(f"{byte:02x}" for byte in row)
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(Text(f"{first + at:08x}  ", HISTORY) + Text(f"{digits:<47}  ") + Text(letters, HISTORY))
    return Text("\n").join(lines)
