"""The pictures of lens and attribution."""

from __future__ import annotations

import io

from rich.console import RenderableType

from dap_server.protocol.llm.lens import (
    AttributionPart,
    AttributionResponseBody,
    LensCandidate,
    LensCell,
    LensColumn,
    LensLayer,
    LensResponseBody,
)
from dap_server.protocol.llm.tokens import Token
from dap_server.terminal import lens
from dap_server.terminal.screen import Screen

LAYERS = [LensLayer(index=-1, path=""), LensLayer(index=0, path="model.layers.0")]


def cell(text: str, probability: float, rank: int) -> LensCell:
    watched = LensCandidate(id=9, text=" Paris", rank=rank, probability=probability / 2, logit=1.0)
    top = LensCandidate(id=3, text=text, rank=1, probability=probability, logit=2.0)
    return LensCell(top=[top], watched=[watched], norm=3.0, update=1.5, cosine=0.5)


def column(position: int, recomputed: bool) -> LensColumn:
    cells = [cell(" is", 1.0, 40), cell(" Rome", 0.5, 2)]
    return LensColumn(recomputed=recomputed, cells=cells, position=position, token=Token(id=5, text=" of"))


def printed(picture: RenderableType) -> list[str]:
    paper = io.StringIO()
    Screen(paper, width=100).show(picture)
    return [line.rstrip() for line in paper.getvalue().splitlines()]


def test_one_position_is_a_line_for_every_layer() -> None:
    lines = printed(lens.view(LensResponseBody(layers=LAYERS, columns=[column(4, False)])))
    assert lines[0] == "lens behind ' of' at position 4  exact"
    assert lines[1].split("  ")[0] == "layer"
    assert lines[2].split() == ["embedding", "'", "is'", "100.0%", "rank", "40", "50.0%", "3.00", "0.500"]
    assert lines[3].split() == ["model.layers.0", "'", "Rome'", "50.0%", "rank", "2", "25.0%", "3.00", "1.50", "0.500"]


def test_several_positions_are_columns_and_what_is_recomputed_is_marked() -> None:
    padding = LensColumn(recomputed=False, cells=[], position=0, padding=True)
    body = LensResponseBody(layers=LAYERS, columns=[padding, column(4, True), column(5, False)])
    lines = printed(lens.view(body))
    assert lines[1].split() == ["layer", "'", "of'", "4*", "'", "of'", "5"]
    assert lines[3].split() == ["0", "'", "Rome'", "50%", "'", "Rome'", "50%"]
    assert lines[4].split()[-2:] == ["2", "2"]
    assert lines[5].startswith("* recomputed")
    assert lines[6] == "1 position is padding"


def test_an_attribution_is_bars_with_the_largest_heads_and_the_remainder() -> None:
    heads = [AttributionPart(name=f"head {h}", kind="head", value=v) for h, v in enumerate((0.1, -2.0, 3.0, None))]
    attention = AttributionPart(name="model.layers.0.self_attn", kind="attention", value=1.1, parts=heads)
    layer = AttributionPart(name="model.layers.0", kind="layer", value=4.0, parts=[attention])
    whole = AttributionPart(name="model.layers.1", kind="layer", value=1.0, note="it stays whole")
    body = AttributionResponseBody(
        token=Token(id=9, text=" Paris"),
        position=4,
        parts=[layer, whole],
        logit=5.0,
        given=4.5,
        total=5.0,
        remainder=1e-7,
    )
    lines = printed(lens.attribution_view(body))
    assert lines[0] == "logit of ' Paris' = 5.0000 before capping, 4.5000 behind it  at position 4"
    assert [line.split() for line in lines[1:6]] == [
        ["model.layers.0", "+4.000", "█" * 20],
        ["self_attn", "+1.100", "█" * 6],
        ["head", "2", "+3.000", "█" * 15],
        ["head", "1", "-2.000", "█" * 10],
        ["head", "0", "+0.100", "▏"],
    ]
    assert lines[-2].split() == ["remainder", "+1.0e-07"]
    assert lines[-1] == "model.layers.1: it stays whole"
