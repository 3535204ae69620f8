"""The pictures of effects, of branches beside each other and of sweeps."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import msgspec
import pytest

from dap_server.protocol.llm import effects as messages
from dap_server.protocol.llm.tiles import Tile
from dap_server.protocol.llm.tokens import Token
from dap_server.terminal import effects
from tests.terminal.stage import Stage
from tests.terminal.test_lens import printed

PARIS, TOKYO = (messages.LikelyToken(id=i, text=text, probability=0.75) for i, text in ((9, " Paris"), (8, " Tokyo")))
SAME, FAR = (
    messages.Distance(same=True, kl=0.0, total_variation=0.0),
    messages.Distance(same=False, total_variation=0.5),
)


def tile(*rows: list[float]) -> Tile:
    numbers = [number for row in rows for number in row]
    data = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode("ascii")
    return Tile(shape=[len(rows), len(rows[0])], dtype="float32", data=data)


def effect(*layers: tuple[str, float | None, float | None]) -> messages.EffectResponseBody:
    return messages.EffectResponseBody(
        ids=[1],
        step=0,
        sequence=0,
        reach="logits",
        text=["effect in step 0: something", "edit 1 is far outside"],
        logits=FAR,
        before=PARIS,
        after=TOKYO,
        layers=[messages.EffectLayer(path=path, last=last, largest=largest) for path, last, largest in layers],
    )


def test_an_effect_is_its_text_and_a_bar_for_every_layer() -> None:
    lines = printed(effects.effect_view(effect(("", 0.0, 0.0), ("a.0", 0.25, 1.5), ("a.1", 0.5, None))))
    assert lines[:2] == ["effect in step 0: something", "edit 1 is far outside"]
    assert [line.split() for line in lines[4:]] == [
        ["embedding", "0.0%", "0.0%"],
        ["a.0", "25.0%", "█" * 10, "150.0%"],
        ["a.1", "50.0%", "█" * 20, "not", "finite"],
    ]


def test_without_movement_there_is_no_table() -> None:
    assert len(printed(effects.effect_view(effect(("", 0.0, 0.0), ("a.0", 0.0, 0.0))))) == 2


def comparison(**fields: Any) -> messages.CompareBranchesResponseBody:
    given: dict[str, Any] = {"a": 1, "b": 2, "sequence": 0, "steps": [], "layers": [], "positions": [], **fields}
    return messages.CompareBranchesResponseBody(**given)


def test_branches_are_steps_and_a_map_with_marks() -> None:
    steps = [
        messages.ComparedStep(step=3, logits=SAME, a=PARIS, b=TOKYO),
        messages.ComparedStep(step=4, logits=FAR, a=PARIS),
    ]
    positions = [messages.ComparedPosition(position=p, differs=p == 9) for p in (8, 9)]
    movement = tile([0.0, 1.0], [0.0, math.nan])
    body = comparison(
        fork=3, divergence=3, steps=steps, positions=positions, layers=["", "a.0"], movement=movement
    )  # fmt: skip
    lines = printed(effects.comparison_view(body))
    assert lines[:2] == [
        "branch 1 beside branch 2: the first step that differs is 3",
        "first other token in step 3: ' Paris' 75.0% | ' Tokyo' 75.0%",
    ]
    assert lines[4].split() == ["3", "same", "'", "Paris'", "75.0%", "'", "Tokyo'", "75.0%"]
    assert lines[5].split() == ["4", "infinite", "50.0%", "'", "Paris'", "75.0%", "not", "yet"]
    assert [line.split() for line in lines[8:11]] == [["8", "9*"], ["embedding", "0.00", "1.00"], ["a.0", "0.00", "-"]]
    assert lines[11] == "* another token stands there"


def test_branches_that_do_not_differ_say_so() -> None:
    assert printed(effects.comparison_view(comparison())) == ["branch 1 beside branch 2: no step differs"]
    (line,) = printed(effects.comparison_view(comparison(fork=7)))
    assert line.endswith("they differ from step 7 on, which has not run in both")


def swept(columns: int, **fields: Any) -> messages.SweepResponseBody:
    cells = tile(*([(i + 1) * j / columns for j in range(columns)] for i in range(2)))
    given: dict[str, Any] = {
        "step": 0,
        "target": Token(id=8, text=" Tokyo"),
        "foil": Token(id=9, text=" Paris"),
        "rows": [messages.SweepRow(index=-1, path=""), messages.SweepRow(index=0, path="a.0")],
        "columns": [
            messages.SweepColumn(position=j, token=Token(id=j, text=f" word{j}")) for j in range(columns)
        ],
        "base": messages.SweepSaying(probability=0.25),
        "probability": cells,
        "difference": cells,
        "kl": cells,
        **fields,
    }  # fmt: skip
    return messages.SweepResponseBody(**given)


def test_a_narrow_sweep_is_numbers_under_its_tokens() -> None:
    lines = printed(
        effects.sweep_view(swept(2, source=messages.SweepSaying(probability=1.0), recovered=tile([0, 1], [1, 0])))
    )
    assert lines[:2] == [
        "' Tokyo' rather than ' Paris' in step 0",
        "' Tokyo' has 25.0% now and 100.0% in the other text",
    ]
    assert lines[3].startswith("share of the way")
    assert [line.split() for line in lines[5:]] == [["embedding", "0.00", "1.00"], ["a.0", "1.00", "0.00"]]


def test_a_wide_sweep_is_shades_and_its_highest_cells() -> None:
    lines = printed(effects.sweep_view(swept(12)))
    assert lines[3].startswith("divergence of the next token's distribution")
    assert lines[4].split() == ["0", "5", "10"]
    assert lines[6].endswith("██")
    assert lines[7].startswith("highest: 1.83 at 11  word11, a.0 · 1.67 at 10")


@pytest.mark.parametrize(
    ("line", "command", "arguments"),
    [
        ("effect", "llm/editEffect", {}),
        ("effect 2", "llm/editEffect", {"ids": [2]}),
        ("effect 1, 2 step 3", "llm/editEffect", {"ids": [1, 2], "step": 3}),
        ("compare 1 2", "llm/compareBranches", {"a": 1, "b": 2}),
        ("sweep 'Some text'", "llm/sweep", {"frameId": 10, "source": "Some text"}),
        (
            "sweep zero layers 0-2,5 positions 3,-1 modules *.mlp target ' a' foil b",
            "llm/sweep",
            {
                "frameId": 10,
                "change": "zero",
                "layers": [0, 1, 2, 5],
                "positions": [3, -1],
                "modules": "*.mlp",
                "target": " a",
                "foil": "b",
            },
        ),
        (
            "sweep 'Text' positions 4 from 6",
            "llm/sweep",
            {"frameId": 10, "source": "Text", "positions": [4], "sourcePositions": [6]},
        ),
    ],
)
def test_a_line_becomes_a_request(stopped: Stage, line: str, command: str, arguments: dict[str, Any]) -> None:
    bodies = {
        "llm/editEffect": effect(("", 0.0, 0.0)),
        "llm/compareBranches": comparison(),
        "llm/sweep": swept(2),
    }
    stopped.fake.on(command, lambda _: msgspec.to_builtins(bodies[command]))
    stopped.play(line)
    assert stopped.fake.arguments_of(command) == arguments


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("effect x", "'x' is not understood: effect, effect 2"),
        ("compare 1", "'1' names no two branches"),
        ("sweep", "a text is missing, or zero or mean: sweep"),
        ("sweep 'open", "is not understood"),
        ("sweep zero layers", "'layers' is not understood"),
        ("sweep zero layers 3-", "'3-' is no list of numbers"),
    ],
)
def test_what_is_not_understood_is_told(stopped: Stage, line: str, text: str) -> None:
    assert text in "\n".join(stopped.play(line))
