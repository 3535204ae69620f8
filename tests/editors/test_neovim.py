"""Neovim, set up as docs/editors.md says. nvim-dap is not there: what it would send with these settings is replayed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import closing
from tests.e2e.plain import Plain
from tests.e2e.raw_client import RawClient
from tests.editors.conftest import ROOT, Editor, MapFile
from tests.editors.settings import settings

READER = Path(__file__).with_name("settings.lua")


@pytest.fixture
def seen(editor: Editor, environment: dict[str, str], map_file: MapFile, tmp_path: Path) -> dict[str, Any]:
    """What Neovim makes of the settings."""
    neovim = editor("nvim")
    init = tmp_path / "init.lua"
    init.write_text(settings("lua"), encoding="utf-8")
    read = subprocess.run(
        [neovim, "--headless", "--clean", "-l", str(READER), str(init), str(map_file.path)],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=ROOT,
        env=environment,
    )
    assert read.returncode == 0, read.stderr
    seen: dict[str, Any] = json.loads(read.stdout)
    return seen


def test_neovim_takes_the_settings(seen: dict[str, Any]) -> None:
    assert (seen["adapter"]["command"], seen["adapter"]["args"]) == ("llm-dap", ["adapter"])
    assert seen["configuration"]["model"] == "fixtures/models/atlas", "as the head of the map says"
    assert [request["arguments"]["breakpoints"] for request in seen["sent"]] == [
        [{"name": "*.layers.3"}, {"name": "sample"}],
        [],
    ]
    assert seen["comments"] == "# %s"
    assert "LlamaMLP" in seen["hover"], "of the language server"


def test_a_session_with_the_settings_of_neovim(seen: dict[str, Any], map_file: MapFile, plain: Plain) -> None:
    configuration = {**seen["configuration"], "generation": {"max_new_tokens": 3}, "cwd": str(ROOT)}
    line = map_file.line_of("model.layers.2")
    with closing(RawClient.spawn()) as client:
        client.ask("initialize", clientID="neovim", adapterID=seen["adapter"]["id"], supportsProgressReporting=True)
        launched = client.send("launch", **configuration)
        client.event("initialized")
        source = {"path": str(map_file.path), "name": map_file.path.name}
        client.ask("setBreakpoints", source=source, breakpoints=[{"line": line}], lines=[line], sourceModified=False)
        client.response(client.send_unchecked("configurationDone", {}))
        client.response(launched)
        assert client.stop()["reason"] == "breakpoint"
        assert client.place() == "model.layers.2 (before)"
        for request in seen["sent"][:1]:
            client.ask(request["command"], **request["arguments"])
        assert client.move("continue")["reason"] == "function breakpoint"
        assert client.place() == "model.layers.3 (before)"
        assert client.move("continue")["text"] == "before sample in step 0"
        client.ask("setFunctionBreakpoints", breakpoints=[])
        client.ask("setBreakpoints", source=source, breakpoints=[], lines=[], sourceModified=False)
        assert client.move("continue")["description"] == "generation finished"
        assert client.output() == plain.texts(configuration["prompt"], max_new_tokens=3)[0] + "\n"
