"""Pictures of attention, and the command that asks for them."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType

from dap_server.protocol.llm.attention import AttentionAxis, AttentionHead, AttentionOfModule
from dap_server.protocol.llm.tiles import Tile
from dap_server.terminal import attention as maps
from tests.terminal.stage import Stage

WORDS = ["'<s>'", "' red'", "' lamp'", "'\\n'"]
NAN = float("nan")
WEIGHTS = [[NAN, NAN, NAN, NAN], [0.25, 0.75, 0, 0], [0.0625, 0, 0.9375, 0], [0.5, 0.4375, 0.03125, 0.03125]]


def tile(rows: list[list[float]]) -> Tile:
    numbers = [x for row in rows for x in row]
    data = base64.b64encode(struct.pack(f"<{len(numbers)}e", *numbers)).decode()
    return Tile(shape=[len(rows), len(rows[0])], dtype="float16", data=data)


def test_bytes_are_numbers_and_what_is_masked() -> None:
    data = base64.b64encode(bytes([0, 127, 254, 255])).decode()
    found = maps.values(Tile(shape=[2, 2], dtype="uint8", data=data, scale=1 / 254))
    assert found[:1] == [[0.0, 0.5]]
    assert found[1][0] == 1.0
    assert math.isnan(found[1][1])


def call(first: int = 0, sinks: Tile | None = None, **head: Any) -> AttentionOfModule:
    """The rows from `first` on."""
    about: dict[str, Any] = {"kind": "induction", "scores": {"sink": 0.5, "induction": 0.9}, "distance": 1.5, **head}
    return AttentionOfModule(
        path="model.layers.3.self_attn",
        kind="self",
        kernel="sdpa",
        source="AttentionInterface",
        window=8,
        head_count=6,
        queries=AttentionAxis(start=first, end=4, size=4, labels=WORDS[first:]),
        keys=AttentionAxis(start=0, end=4, size=4, labels=WORDS),
        heads=[AttentionHead(head=4, entropy=0.5, first=0.25, tile=tile(WEIGHTS[first:]), sinks=sinks, **about)],
    )


def printed(picture: RenderableType) -> list[str]:
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(picture)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_every_head_has_a_line() -> None:
    assert printed(maps.heads_view(call(), call(first=3))) == [
        "model.layers.3.self_attn · self attention · sdpa · 4 × 4 · window 8",
        "head  kind           entropy  first  back  '\\n' looks at",
        "   4  induction 90%     0.50    25%   1.5  '<s>' 50%, ' red' 44%, ' lamp' 3%",
    ]


def test_one_head_is_a_strip_bars_and_a_map() -> None:
    title, numbers, _, what, strip, _, *rest = printed(maps.head_view(call(), call(first=3)))
    assert title == "model.layers.3.self_attn, head 4 · self attention · sdpa · 4 × 4 · window 8"
    assert numbers == "induction 90% · sink 50% · entropy 0.500 · first token 25.0% · 1.5 back"
    assert (what, strip) == ("where '\\n' at 3 looks", "<s> red lamp⏎")
    assert rest == [
        "0  '<s>'    50.0%  ████████████",
        "1  ' red'   43.8%  ██████████",
        "2  ' lamp'   3.1%  █",
        "3  '\\n'      3.1%  █",
        "",
        "          0",
        "0   '<s>'",
        "1  ' red' ▒▒██",
        "2 ' lamp' ░░  ██",
        "3    '\\n' ▓▓▓▓░░░░",
    ]


def test_a_masked_token_looks_nowhere_and_a_sink_has_its_bar() -> None:
    masked = call()
    masked.queries = AttentionAxis(start=0, end=1, size=4, labels=WORDS[:1])
    masked.heads[0].tile = tile(WEIGHTS[:1])
    assert printed(maps.head_view(call(), masked))[-1] == "'<s>' at 0 is masked: it looks nowhere"
    sink = call(first=3, sinks=tile([[0.25]]), learnt_sink=0.25)
    lines = printed(maps.head_view(sink, sink))
    assert "learnt sink 25.0%" in lines[1]
    assert lines[-1] == "   learnt sink  25.0%  ██████"


def test_all_layers_are_a_line_each() -> None:
    cross = call(kind=None, scores=None, distance=None)
    cross.kind = "cross"
    assert printed(maps.all_view([call(), cross])) == [
        "model.layers.3.self_attn          4 induction 90%",
        "model.layers.3.self_attn (cross)  6 heads, none of a kind",
    ]


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("attention", {}),
        ("attention 3", {"layer": 3}),
        ("attn 3.4", {"layer": 3, "heads": [4]}),
        ("attention model.layers.3.self_attn", {"layer": "model.layers.3.self_attn"}),
        ("attention model.layers.3", {"layer": "model.layers.3"}),
        ("attention encoder.block.0:1", {"layer": "encoder.block.0", "heads": [1]}),
    ],
)
def test_a_line_becomes_requests(stopped: Stage, line: str, asked: dict[str, Any]) -> None:
    requests: list[dict[str, Any]] = []

    def answer(arguments: dict[str, Any]) -> dict[str, Any]:
        requests.append(arguments)
        body = msgspec.to_builtins(call(first=3 if "queries" in arguments else 0))
        return {"step": 0, "path": "model.layers.3", "calls": [body]}

    stopped.fake.on("llm/attention", answer)
    shown = stopped.play(line)
    assert shown[0].startswith("model.layers.3.self_attn")
    first, second = requests
    assert {k: v for k, v in first.items() if k != "maxCells"} == {"frameId": 10, **asked}
    assert (second["layer"], second["queries"]) == ("model.layers.3.self_attn", {"start": 3, "end": 4})


def test_what_names_no_head_says_how_to_name_one(stopped: Stage) -> None:
    (line,) = stopped.play("attention what is it")
    assert line.startswith("error: 'what is it' names no layer and no head: attention 3, attention 3.4")
