"""Breakpoints on lines of a map, as far as they are known before any model is: the engine never comes here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dap_server.modelmap.paths import local_path
from dap_server.modelmap.text import read_map, write_map
from tests.adapter.conftest import StartAdapter
from tests.adapter.peer import Adapter, Json
from tests.modelmap.sample import sample_map

Lines = Callable[[str], int]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny model.llmmap"
    path.write_text(write_map(sample_map()), encoding="utf-8")
    return path


@pytest.fixture
def adapter(start_adapter: StartAdapter, fake: Callable[[str], Json]) -> Adapter:
    adapter = start_adapter()
    adapter.initialize()
    adapter.send_valid("launch", fake("never connects"))
    adapter.event("initialized")
    return adapter


def line_of(file: Path, path: str) -> int:
    line = read_map(file.read_text(encoding="utf-8")).line_of(path)
    assert line is not None
    return line


def columns(file: Path, line: int) -> tuple[int, int]:
    text = file.read_text(encoding="utf-8").splitlines()[line - 1]
    return len(text) - len(text.lstrip()) + 1, len(text) + 1


def set_lines(adapter: Adapter, file: Path | str, *lines: int | Json) -> list[Json]:
    wanted = [{"line": line} if isinstance(line, int) else line for line in lines]
    body: Json = adapter.get("setBreakpoints", {"source": {"path": str(file)}, "breakpoints": wanted})
    states: list[Json] = body["breakpoints"]
    return states


def test_a_line_is_pending_with_its_place_before_the_model_is_loaded(adapter: Adapter, file: Path) -> None:
    line = line_of(file, "layers.1.mlp")
    (state,) = set_lines(adapter, file, line)
    assert (state["verified"], state["reason"], state["message"]) == (False, "pending", "the model is not loaded yet")
    assert (state["line"], state["column"]) == (line, columns(file, line)[0])
    assert state["source"] == {"name": "tiny model.llmmap", "path": str(file)}


def test_the_nearer_column_says_whether_it_is_before_or_after(adapter: Adapter, file: Path) -> None:
    line = line_of(file, "layers.1.mlp")
    before, after = columns(file, line)
    asked = [{"line": line, "column": column} for column in (1, before, before + 3, after - 3, after, 10_000)]
    found = [state["column"] for state in set_lines(adapter, file, *asked)]
    assert found == [before, before, before, after, after, after]
    by_mode = [{"line": line, "mode": "after"}, {"line": line, "mode": "before"}, {"line": line, "mode": "sideways"}]
    assert [state["column"] for state in set_lines(adapter, file, *by_mode)] == [after, before, before]
    (both,) = set_lines(adapter, file, {"line": line, "column": before, "mode": "after"})
    assert both["column"] == before, "the column is where the person sees it"


def test_the_names_in_a_condition_or_log_message_say_when(adapter: Adapter, file: Path) -> None:
    line = line_of(file, "layers.1.mlp")
    before, after = columns(file, line)
    wanted: list[Json] = [
        {"line": line, "condition": "output.isnan().any()"},
        {"line": line, "condition": "layer == 1"},
        {"line": line, "logMessage": "{hidden.norm()}"},
        {"line": line, "column": after, "condition": "layer == 1", "hitCondition": ">= 2"},
    ]
    states = set_lines(adapter, file, *wanted)
    assert [state["reason"] for state in states] == ["pending"] * 4
    assert [state["column"] for state in states] == [after, before, after, after]


def test_what_is_wrong_in_a_text_is_said_at_once_with_its_column(adapter: Adapter, file: Path) -> None:
    line = line_of(file, "layers.1.mlp")
    wanted: list[Json] = [
        {"line": line, "condition": "layer = 1"},
        {"line": line, "condition": "token == 3"},
        {"line": line, "column": 1, "condition": "output.mean() > 0"},
        {"line": line, "hitCondition": "often"},
        {"line": line, "logMessage": "{norm"},
    ]
    states = set_lines(adapter, file, *wanted)
    assert [state["reason"] for state in states] == ["failed"] * 5
    assert all("(column " in state["message"] for state in states)
    assert "`token` is not known at a module" in states[1]["message"]
    assert "asks for before" in states[2]["message"]
    body = adapter.get(
        "setFunctionBreakpoints", {"breakpoints": [{"name": "before:sample", "condition": "prob < 0.5"}]}
    )
    assert "known after" in body["breakpoints"][0]["message"]


def test_lists_and_what_is_never_called_say_so(adapter: Adapter, file: Path) -> None:
    states = set_lines(adapter, file, line_of(file, "layers"), line_of(file, "layers.0.conv"))
    assert [(state["verified"], state["reason"]) for state in states] == [(False, "failed")] * 2
    assert states[0]["message"] == "'layers' is a list of 2, not called itself: set the breakpoint on a line inside it"
    assert "its weights are used" in states[1]["message"]


def test_a_comment_moves_to_the_next_place_and_the_end_of_the_file_has_none(adapter: Adapter, file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    lines.insert(line_of(file, "layers") - 1, "# mine")
    file.write_text("\n".join(lines), encoding="utf-8")
    comment = lines.index("# mine") + 1
    header, moved, behind = set_lines(adapter, file, 1, comment, len(lines))
    assert header["line"] == line_of(file, "step")
    assert moved["line"] == line_of(file, "layers.0"), "over the list, which no run comes to"
    assert behind["reason"] == "failed"
    assert behind["message"] == "no place of the model stands here or below"


def test_what_cannot_be_read_says_what_is_wrong_there(adapter: Adapter, file: Path) -> None:
    text = file.read_text(encoding="utf-8").splitlines()
    line = line_of(file, "layers.1")
    text[line - 1] = "layers 1 is the last one"
    file.write_text("\n".join(text), encoding="utf-8")
    (state,) = set_lines(adapter, file, line)
    assert state["line"] == line
    assert "this is no place" in state["message"]


def test_a_breakpoint_that_is_set_again_keeps_its_number_and_other_files_theirs(adapter: Adapter, file: Path) -> None:
    other = file.with_name("other.llmmap")
    other.write_bytes(file.read_bytes())
    first, second = set_lines(adapter, file, line_of(file, "step"), line_of(file, "layers.0"))
    (elsewhere,) = set_lines(adapter, other, line_of(file, "step"))
    assert len({first["id"], second["id"], elsewhere["id"]}) == 3
    (again,) = set_lines(adapter, file, line_of(file, "layers.0"))
    assert again["id"] == second["id"]
    assert set_lines(adapter, other, line_of(file, "step"))[0]["id"] == elsewhere["id"]
    twice = set_lines(adapter, file, line_of(file, "step"), line_of(file, "step"))
    assert twice[0]["id"] != twice[1]["id"]


def test_a_file_that_is_edited_is_read_again(adapter: Adapter, file: Path) -> None:
    line = line_of(file, "layers.1.mlp")
    assert set_lines(adapter, file, line)[0]["reason"] == "pending"
    file.write_text("# llm-dap map 1\n\nlayers.1  TinyLayer\n", encoding="utf-8")
    (state,) = set_lines(adapter, file, line)
    assert state["reason"] == "failed"
    assert set_lines(adapter, file, 2)[0]["line"] == 3


@pytest.mark.parametrize("address", ["file://{}", "vscode-remote://ssh-remote%2Bhost{}", "{}"])
def test_a_path_may_come_as_an_address(adapter: Adapter, file: Path, address: str) -> None:
    line = line_of(file, "step")
    (state,) = set_lines(adapter, address.format(str(file).replace(" ", "%20" if ":" in address else " ")), line)
    assert state["source"]["path"] == str(file)
    assert state["line"] == line


def test_a_drive_is_no_address() -> None:
    assert local_path(r"c:\models\tiny.llmmap") == r"c:\models\tiny.llmmap"


def test_a_missing_map_and_a_file_of_another_kind_say_so(adapter: Adapter, tmp_path: Path) -> None:
    (missing,) = set_lines(adapter, tmp_path / "none.llmmap", 3)
    assert (missing["verified"], missing["line"]) == (False, 3)
    assert missing["message"].endswith("none.llmmap cannot be read: No such file or directory")
    (tmp_path / "bytes.llmmap").write_bytes(b"\xff\xfe\x00")
    assert "not text in UTF-8" in set_lines(adapter, tmp_path / "bytes.llmmap", 3)[0]["message"]
    (other,) = set_lines(adapter, tmp_path / "train.rs", 3)
    assert (other["verified"], other["reason"], other["line"]) == (False, "failed", 3)
    assert "train.rs is neither a model map nor Python" in other["message"]
    (python,) = set_lines(adapter, tmp_path / "train.py", 3)
    assert (python["verified"], python["reason"], python["line"]) == (False, "pending", 3)
    body = adapter.get("setBreakpoints", {"source": {"path": str(tmp_path / "old.py")}, "lines": [4, 5]})
    assert [state["line"] for state in body["breakpoints"]] == [4, 5]


def test_locations_are_two_for_each_place_where_a_run_can_stop(adapter: Adapter, file: Path) -> None:
    def locations(line: int, **more: int) -> list[tuple[int, int]]:
        body = adapter.get("breakpointLocations", {"source": {"path": str(file)}, "line": line, **more})
        return [(location["line"], location["column"]) for location in body["breakpoints"]]

    line = line_of(file, "layers.0.mlp")
    before, after = columns(file, line)
    assert locations(line) == [(line, before), (line, after)]
    assert locations(line, column=before + 1) == [(line, after)]
    assert locations(line, endLine=line, endColumn=before) == [(line, before)]
    assert locations(1) == locations(line_of(file, "layers")) == locations(line_of(file, "layers.0.conv")) == []
    everything = locations(1, endLine=10_000)
    assert everything == sorted(everything)
    assert len(everything) == 2 * sum(place.can_stop for place in sample_map().lines)
    assert adapter.get("breakpointLocations", {"source": {"path": "x.py"}, "line": 1}) == {"breakpoints": []}


def test_the_text_of_a_map_and_of_a_python_file_can_be_asked_for(adapter: Adapter, file: Path) -> None:
    body = adapter.get("source", {"sourceReference": 0, "source": {"path": str(file)}})
    assert body == {"content": file.read_text(encoding="utf-8"), "mimeType": "text/x-llmmap"}
    here = adapter.get("source", {"sourceReference": 0, "source": {"path": __file__}})
    assert here["mimeType"] == "text/x-python"
    assert here["content"] == Path(__file__).read_text(encoding="utf-8")
    nowhere = {"sourceReference": 0, "source": {"path": str(file.with_name("none.py"))}}
    assert "cannot be read" in adapter.error("source", nowhere)
    assert "`$.source`" in adapter.error("source", {"sourceReference": 0, "source": {"path": "/etc/passwd"}})
