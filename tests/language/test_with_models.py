"""Against real models: `llm-dap map` is started by the server."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from lsprotocol import types

from dap_server.modelmap.text import read_map
from tests.language.client import Editor
from tests.language.maps import ATLAS, line_of, small_map
from tests.language.test_regenerate import apply


def test_a_map_is_compared_with_the_config_beside_it(
    start: Callable[[], Editor], tmp_path: Path, example_model: Path
) -> None:
    """By `llm-dap map`, in the background: first what the text shows is told, then what the model shows."""
    folder = tmp_path / "my models" / "atlas"
    folder.mkdir(parents=True)
    shutil.copy(example_model / "config.json", folder)
    editor = start()
    editor.initialize(tmp_path)
    text = small_map("my models/atlas").replace("model.layers.1.mlp", "model.layers.1.mpl")
    uri = editor.open(text, (tmp_path / "maps" / "atlas.llmmap").as_uri())
    assert editor.problems(uri=uri) == []
    editor.until(lambda: editor.diagnostics[uri].diagnostics)
    problems = {(d.range.start.line, d.message) for d in editor.problems(uri=uri)}
    line = line_of(text, "model.layers.1.mpl")
    [typo] = [message for n, message in problems if n == line]
    assert typo == "the model has no 'model.layers.1.mpl'; did you mean 'model.layers.1.mlp'?"
    assert any("missing in this map" in message for _, message in problems), "the model has more layers"
    assert editor.end() == 0


def test_a_map_is_made_anew_from_the_config_and_the_editor_changes_it(
    start: Callable[[], Editor], tmp_path: Path, example_model: Path
) -> None:
    editor = start()
    editor.initialize()
    norm = ATLAS.splitlines()[line_of(ATLAS, "model.norm")]
    source = small_map(str(example_model)).replace(norm, f"{norm}  # mine")
    uri = editor.open(source, (tmp_path / "atlas.llmmap").as_uri())
    command = types.ExecuteCommandParams("llm-dap.regenerateMap", [uri])
    editor.wait(editor.client.workspace_execute_command_async(command))
    [asked] = editor.edits
    [change] = asked.edit.document_changes or ()
    assert isinstance(change, types.TextDocumentEdit)
    assert (change.text_document.uri, change.text_document.version) == (uri, 1)
    new = apply(source, [edit for edit in change.edits if isinstance(edit, types.TextEdit)])
    fresh = read_map(new)
    assert fresh.problems == []
    assert fresh.model == str(example_model)
    assert fresh.comments[fresh.line_of("model.norm") or 0] == "# mine"
    editor.change(2, types.TextDocumentContentChangeWholeDocument(new), uri=uri)
    again = editor.ask("llm/regenerateMap", uri=uri)
    assert again.applied is False, "it is as the model is"
    assert editor.end() == 0
