"""What the terminal shows of Python frames."""

from pathlib import Path
from typing import Any

from dap_server.protocol.events import StoppedEventBody
from dap_server.protocol.types import Source, StackFrame
from dap_server.terminal import render, source_view
from tests.terminal.stage import Stage
from tests.terminal.test_render import printed


def standing(path: Path, line: int) -> StackFrame:
    path.write_text("".join(f"line_{i} = {i}\n" for i in range(1, 10)))
    source = Source(name=path.name, path=str(path))
    return StackFrame(id=1, name="answer", line=line, column=1, source=source, can_restart=False)


def test_the_lines_around_a_frame_are_numbered_with_an_arrow_at_its_own(tmp_path: Path) -> None:
    table = source_view.excerpt(standing(tmp_path / "serve.py", 2))
    assert table is not None
    assert printed(table) == [
        "  1 line_1 = 1",
        "▸ 2 line_2 = 2",
        "  3 line_3 = 3",
        "  4 line_4 = 4",
        "  5 line_5 = 5",
    ]


def test_a_file_that_is_elsewhere_has_no_lines_to_show(tmp_path: Path) -> None:
    frame = standing(tmp_path / "serve.py", 99)
    assert source_view.excerpt(frame) is None
    assert source_view.excerpt(standing(tmp_path / "serve.py", 1)) is not None
    (tmp_path / "serve.py").unlink()
    assert source_view.excerpt(frame) is None


def test_a_stop_at_a_line_says_which(tmp_path: Path) -> None:
    stopped = StoppedEventBody(reason="breakpoint", description="breakpoint: serve.py:2", text="serve.py:2")
    line = render.stop_line(stopped, [standing(tmp_path / "serve.py", 2)], {})
    assert str(line) == "stopped in answer · serve.py:2 · breakpoint"


def test_where_shows_the_lines_and_locals_the_names(stopped: Stage, tmp_path: Path) -> None:
    frame = standing(tmp_path / "serve.py", 2)
    stopped.debugger.frames = [frame]
    scopes: dict[str, Any] = {"scopes": [{"name": "Locals", "variablesReference": 6, "expensive": False}]}
    rows = {"variables": [{"name": "prompt", "value": "'The'", "variablesReference": 0}]}
    stopped.fake.on("scopes", lambda _: scopes)
    stopped.fake.on("variables", lambda _: rows)
    assert stopped.play("where")[:3] == ["▸ 0 answer  serve.py:2", "  1 line_1 = 1", "▸ 2 line_2 = 2"]
    assert stopped.play("locals") == ["Locals", "└── prompt  'The'"]
