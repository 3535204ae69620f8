"""The command `map`: the model map around a frame or a place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dap_server.modelmap.text import read_map, write_map
from tests.modelmap.sample import sample_map
from tests.terminal.stage import CAPABILITIES, Stage

TEXT = write_map(sample_map())


def line_of(place: str) -> int:
    line = read_map(TEXT).line_of(place)
    assert line is not None
    return line


class AtMap(Stage):
    """Stopped behind `layers.0.mlp`, whose line it is on; its `forward` and the layer around it are below."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        source = {"name": file.name, "path": str(file)}
        after = read_map(TEXT).columns(line_of("layers.0.mlp"))[1]
        frames: list[dict[str, Any]] = [
            {"id": 1, "name": "layers.0.mlp (after)", "line": line_of("layers.0.mlp"), "column": after},
            {"id": 2, "name": "Linear.forward", "line": 7, "column": 1, "source": {"path": "/linear.py"}},
            {"id": 3, "name": "layers.0", "line": line_of("layers.0"), "column": 5, "source": source},
        ]
        frames[0]["source"] = source
        self.fake.on("initialize", lambda _: CAPABILITIES | {"supportsLoadedSourcesRequest": True})
        self.fake.on("loadedSources", lambda _: {"sources": [source]})
        self.fake.on("source", lambda _: {"content": TEXT, "mimeType": "text/x-llmmap"})
        self.fake.on("stackTrace", lambda _: {"stackFrames": frames, "totalFrames": 3})
        self.fake.on("setBreakpoints", lambda args: {"breakpoints": [{"verified": False} for _ in args["breakpoints"]]})


@pytest.fixture
def at_map(tmp_path: Path) -> Iterator[AtMap]:
    file = tmp_path / "tiny.llmmap"
    file.write_text(TEXT, encoding="utf-8")
    made = AtMap(file)
    with made.fake:
        made.start()
        yield made


def marks(shown: list[str]) -> dict[str, str]:
    """What stands in front of each place."""
    return {line[2:].split()[1]: line[:2].strip() for line in shown if len(line[2:].split()) > 1}


def test_lines_around_the_frame_are_shown_with_where_it_stands_and_breakpoints(at_map: AtMap) -> None:
    at_map.play("break layers.1", f"break :{line_of('layers.1.mlp')}")
    found = marks(at_map.play("map 8"))
    assert found == {
        "layers": "",
        "layers.0": "",
        "layers.0.mlp": "◂",
        "layers.0.conv": "",
        "layers.1": "●",
        "layers.1.mlp": "○",
        "head": "",
        "logits": "",
    }


def test_a_python_frame_stands_where_its_module_does(at_map: AtMap) -> None:
    assert marks(at_map.play("up", "map 5"))["layers.0.mlp"] == "◂"
    assert marks(at_map.play("up", "map 5"))["layers.0"] == "▸"


def test_another_place_can_be_looked_at(at_map: AtMap) -> None:
    shown = at_map.play("map sample")
    assert "sample" in marks(shown)
    assert len(shown) == 24
    (said,) = at_map.play("map layers.2")
    assert said.startswith("error: no line of the map is 'layers.2'; did you mean 'layers.1' or")
    assert "." in marks(at_map.play("map ."))


def test_a_line_is_as_wide_as_the_screen_at_most(at_map: AtMap) -> None:
    shown = at_map.play("map 100")
    assert max(map(len, shown)) <= 100
    assert len(shown) == len(TEXT.splitlines())
