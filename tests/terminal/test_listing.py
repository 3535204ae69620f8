"""The picture of a listing of operations."""

from __future__ import annotations

import io

from dap_server.protocol.types import DisassembledInstruction, Source, StackFrame
from dap_server.terminal import render
from dap_server.terminal.listing import listing
from dap_server.terminal.screen import Screen

FILE = Source(name="modeling.py", path="/modeling.py")


def row(address: str, text: str, symbol: str, **more: object) -> DisassembledInstruction:
    return DisassembledInstruction(address=address, instruction=text, symbol=symbol, **more)  # type: ignore[arg-type]


def shown(rows: list[DisassembledInstruction], here: str) -> list[str]:
    paper = io.StringIO()
    Screen(paper, width=70).show(listing(rows, here))
    return [line.rstrip() for line in paper.getvalue().splitlines()]


def test_operations_are_grouped_by_module_with_an_arrow_and_their_lines() -> None:
    rows = [
        DisassembledInstruction(address="0x1", instruction="", presentation_hint="invalid"),
        row("0x100000", "enter Linear", "mlp.up", location=FILE, line=3),
        row("0x100001", "aten::mm  f32[2,3] → f32[2,4]", "mlp.up", line=7),
        row("0x100002", "aten::t  f32[2,4] → f32[4,2]", "mlp.up"),
        row("0x200001", "aten::add  f32[2] f32[2] → f32[2]", "mlp", line=8),
    ]
    assert shown(rows, "0x100001") == [
        "           mlp.up",
        "  0x100000   enter Linear                      modeling.py:3",
        "▸ 0x100001   aten::mm  f32[2,3] → f32[2,4]     modeling.py:7",
        "  0x100002   aten::t  f32[2,4] → f32[4,2]      modeling.py:7",
        "           mlp",
        "  0x200001   aten::add  f32[2] f32[2] → f32[2] modeling.py:8",
    ]


def test_without_a_listing_it_says_so() -> None:
    invalid = DisassembledInstruction(address="0x1", instruction="", presentation_hint="invalid")
    assert shown([invalid], "0x1") == ["no operations are known here"]


def test_the_place_of_an_operation_names_its_module() -> None:
    frames = [StackFrame(id=i, name=name, line=1, column=1) for i, name in enumerate(["aten::mm", "model.mlp"])]
    assert render.place(frames) == "at aten::mm in model.mlp"
    frames[0].name = "aten::mm (after)"
    assert render.place(frames) == "after aten::mm in model.mlp"
