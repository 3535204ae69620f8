"""One tensor: a page of its numbers, its bytes, a copy as Python, a file."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

from dap_server.terminal import render, tiles
from dap_server.terminal.commands.looking import find
from dap_server.terminal.commands.table import command
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.errors import CommandError

BYTES = 64

_SLICE = re.compile(r"(-?\d+)|:|(\d+):(\d+)")


@command(
    "tensor",
    usage="NAME [SLICE …]",
    help="numbers of a tensor, large ones down-sampled: tensor output 0 : 0:8 is index 0, all, and 0 to 8 of its axes",
)
def tensor(debugger: Debugger, argument: str) -> None:
    words = argument.split()
    slices: list[int | list[int] | None] = []
    while len(words) > 1 and (match := _SLICE.fullmatch(words[-1])):
        words.pop()
        slices.insert(0, int(match[1]) if match[1] else [int(match[2]), int(match[3])] if match[2] else None)
    name = " ".join(words)
    which = _which(debugger, name, "tensor Inputs.hidden_states 0 : 0:8")
    page = debugger.client.tensor(**which, slices=slices, max_cells=tiles.COLUMNS**2)
    if (cells := tiles.cells_that_fit(page)) is not None:
        page = debugger.client.tensor(**which, slices=slices, max_cells=cells)
    debugger.screen.show(tiles.page_view(name, page))


@command("hexdump", usage="NAME [BYTES]", help="the first bytes of a tensor", needs="supports_read_memory_request")
def hexdump(debugger: Debugger, argument: str) -> None:
    name, _, count = argument.rpartition(" ")
    if not count.isdigit() or not name:
        name, count = argument, str(BYTES)
    if not name:
        raise CommandError("a name is missing: hexdump Inputs.hidden_states 64")
    memory = find(debugger, name, debugger.client.scopes(debugger.frame.id)).memory
    if memory is None:
        raise CommandError(f"'{name}' has no bytes to show: it is no tensor, or has no values")
    body = debugger.client.read_memory(memory, int(count))
    debugger.screen.show(tiles.bytes_view(base64.b64decode(body.data or ""), int(body.address, 16)))


@command("copy", usage="NAME [numpy]", help="Python that makes a tensor again, to paste elsewhere")
def copy(debugger: Debugger, argument: str) -> None:
    name = argument.removesuffix(" numpy")
    which = _which(debugger, name, "copy output[0, -1]")
    library = "numpy" if name != argument else "torch"
    debugger.screen.show(debugger.client.tensor_literal(**which, library=library))


@command("save", usage="NAME PATH", help="write a tensor to a .safetensors or .npy file; 'save!' replaces one")
def save(debugger: Debugger, argument: str) -> None:
    _save(debugger, argument, False)


@command("save!", usage="NAME PATH", help="write a tensor to a file, in the place of another")
def save_over(debugger: Debugger, argument: str) -> None:
    _save(debugger, argument, True)


def _save(debugger: Debugger, argument: str, overwrite: bool) -> None:
    name, _, path = argument.rpartition(" ")
    if not name.strip():
        raise CommandError("a name and a path are needed: save output layer3.safetensors")
    which = _which(debugger, name.strip(), "save output layer3.safetensors")
    file = str(Path(path).expanduser().absolute())
    saved = debugger.client.save_tensor(file, **which, overwrite=overwrite)
    debugger.screen.show(render.note(f"{saved.dtype} {saved.shape}, {saved.bytes:,} bytes, in {saved.path}"))


def _which(debugger: Debugger, name: str, example: str) -> dict[str, Any]:
    """How a request names a tensor that is a variable, or else an expression."""
    if not name:
        raise CommandError(f"a name is missing: {example}")
    node = find(debugger, name, debugger.client.scopes(debugger.frame.id))
    if not node.reference:
        raise CommandError(f"'{name}' is no tensor: {node.value}")
    return {"variables_reference": node.reference}
