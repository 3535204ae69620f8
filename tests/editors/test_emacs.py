"""Emacs with dape, set up as docs/editors.md says: a session on the example model, seen through dape's buffers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.e2e.conftest import has_ended
from tests.e2e.plain import Plain
from tests.editors.conftest import ROOT, Editor, MapFile
from tests.editors.settings import settings
from tests.editors.traffic import Traffic

PROMPT = "The capital of France is"
SESSION = Path(__file__).with_name("session.el")


def test_a_session_in_emacs(
    editor: Editor, environment: dict[str, str], traffic: Traffic, map_file: MapFile, plain: Plain, tmp_path: Path
) -> None:
    emacs = editor("emacs")
    init = tmp_path / "init.el"
    init.write_text(settings("elisp"), encoding="utf-8")
    played = subprocess.run(
        [emacs, "--batch", "--quick", "--load", str(init), "--load", str(SESSION)],
        capture_output=True,
        text=True,
        timeout=150,
        cwd=ROOT,
        env={
            **environment,
            "MAP": str(map_file.path),
            "LINE": str(map_file.line_of("model.layers.2")),
            "PROMPT": PROMPT,
            "SEEN": str(tmp_path / "seen.json"),
        },
    )
    assert played.returncode == 0, played.stderr
    seen = json.loads((tmp_path / "seen.json").read_text(encoding="utf-8"))

    assert seen["mode"] == "llmmap-mode"
    assert {"step", ".", "logits", "sample"} <= set(seen["outline"]), "of the language server"
    assert seen["at"] == f"atlas.llmmap:{map_file.line_of('model.layers.2')}"
    assert top(seen["byLine"]) == "1 model.layers.2 (before)"
    assert any(row.startswith("+ hidden_states float32 [1, 6, 192]") for row in seen["byLine"]["scope"])
    assert [top(seen[name]) for name in ("byName", "inside", "back")] == [
        "1 model.layers.3.mlp (before)",
        "1 model.layers.3.mlp.gate_proj (before)",
        "1 model.layers.3.mlp (before)",
    ]
    assert top(seen["finished"]) == "1 step 3 (end of the generation)"
    assert "* Exit code 0 *" in seen["console"]
    text = plain.texts(PROMPT, max_new_tokens=4)[0]
    assert text in seen["console"]

    assert traffic.request("initialize")["clientID"] == "dape"
    assert traffic.event("stopped")["reason"] == "breakpoint"
    opened = {arguments["variablesReference"] for arguments in traffic.requests("variables")}
    scopes = [scope for answer in traffic.answers("scopes") for scope in answer["scopes"]]
    analyses = [scope for scope in scopes if scope["name"] in ("Attention", "Lens", "Gradients", "Attribution")]
    assert analyses
    assert not opened & {scope["variablesReference"] for scope in analyses}, "nothing is worked out unasked"
    assert has_ended(traffic.process())


def top(stop: dict[str, list[str]]) -> str:
    return stop["stack"][0].rsplit(" of ", 1)[0]
