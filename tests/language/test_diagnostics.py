"""What an editor underlines in a map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lsprotocol import types

from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of, small_map


def told(editor: Editor, text: str) -> list[tuple[int, str, str]]:
    """Line, code and message of what is wrong with a text."""
    editor.change(2, types.TextDocumentContentChangeWholeDocument(text))
    return [(d.range.start.line, str(d.code), d.message) for d in editor.problems(version=2)]


def test_nothing_is_wrong_with_a_map_as_it_is_written(editor: Editor) -> None:
    assert editor.problems() == []


def test_a_place_that_stands_twice_is_told_at_the_second(editor: Editor) -> None:
    line = line_of(ATLAS, "model.norm")
    lines = ATLAS.splitlines()
    found = told(editor, "\n".join([*lines[: line + 1], lines[line], *lines[line + 1 :]]))
    assert [(n, code) for n, code, _ in found] == [(line + 1, "unreadable")]
    assert f"stands on line {line + 1} already" in found[0][2]


def test_what_is_no_place_is_told_where_it_stands(editor: Editor) -> None:
    found = told(editor, f"{ATLAS}model norm  LlamaRMSNorm\nmodel..norm\n")
    end = len(ATLAS.splitlines())
    assert [(n, code) for n, code, _ in found] == [(end, "unreadable"), (end + 1, "unreadable")]


def test_a_module_that_has_no_line_is_told_once_at_the_first_inside_of_it(editor: Editor) -> None:
    line = line_of(ATLAS, "model.layers.1")
    lines = ATLAS.splitlines()
    found = told(editor, "\n".join(lines[:line] + lines[line + 1 :]))
    assert found == [(line, "parent", "'model.layers.1', the module around this one, has no line")]


def test_a_header_without_a_model_or_with_a_folder_that_is_none_is_told(editor: Editor) -> None:
    assert "# model: …" in told(editor, ATLAS.replace("# model: models/atlas\n", ""))[0][2]


def test_a_folder_that_is_none_is_told(editor: Editor) -> None:
    [(line, code, message)] = told(editor, ATLAS.replace("models/atlas", "./models/atlas"))
    assert (line, code) == (1, "header")
    assert "no folder './models/atlas' with a config.json" in message


def test_a_text_that_is_no_map_at_all_says_only_that(editor: Editor) -> None:
    [(line, code, message)] = told(editor, "")
    assert (line, code) == (0, "unreadable")
    assert "no model map" in message


def test_a_closed_document_has_no_problems(server: Editor) -> None:
    server.open("nonsense with spaces\n")
    assert server.problems()
    server.close()
    server.until(lambda: not server.diagnostics[DOCUMENT.uri].diagnostics)


def test_a_config_that_cannot_be_read_is_told_at_the_models_name(start: Callable[[], Editor], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    editor = start()
    editor.initialize()
    uri = editor.open(small_map(str(tmp_path)), (tmp_path / "atlas.llmmap").as_uri())
    editor.until(lambda: uri in editor.diagnostics and editor.diagnostics[uri].diagnostics)
    [problem] = editor.problems(uri=uri)
    assert (problem.range.start.line, problem.code) == (1, "model")
    assert "could not be compared with the model" in problem.message
    assert editor.end() == 0
