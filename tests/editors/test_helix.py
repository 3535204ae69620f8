"""Helix, set up as docs/editors.md says, in a terminal: a session on the example model, by its keys."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import has_ended
from tests.e2e.plain import Plain
from tests.editors.conftest import ROOT, Editor, MapFile
from tests.editors.settings import settings
from tests.editors.terminal import Terminal
from tests.editors.traffic import Traffic

PROMPT = "The capital of France is"
ESCAPE = "\x1b[27u"
"""The key in the form that cannot begin another."""
GENERATION = {"max_new_tokens": 4}


def test_a_session_in_helix(
    editor: Editor, environment: dict[str, str], traffic: Traffic, map_file: MapFile, example_model: Path, plain: Plain
) -> None:
    helix = editor("hx")
    folder = Path(environment["XDG_CONFIG_HOME"]) / "helix"
    folder.mkdir(parents=True)
    (folder / "languages.toml").write_text(settings("toml"), encoding="utf-8")
    line = map_file.line_of("model.layers.2")
    with Terminal([helix, f"{map_file.path}:{line}"], environment, ROOT) as terminal:
        terminal.sees("NOR")
        terminal.type(" Gb")  # a breakpoint on this line; the menu stays
        terminal.type("l\r")  # the template, then what it asks for
        for text, prompt in (
            (str(example_model), "model:"),
            (PROMPT, "prompt:"),
            (json.dumps(GENERATION), "generation:"),
        ):
            terminal.sees(prompt)
            terminal.type(text + "\r")
        assert traffic.event("stopped")["reason"] == "breakpoint"
        assert traffic.request("setBreakpoints")["breakpoints"][0]["line"] == line
        terminal.sees("stopped because of breakpoint")

        terminal.type("v")
        terminal.sees("hidden_states: Tensor = float32 [1, 6, 192] cpu")
        terminal.type(ESCAPE + "sf")
        terminal.sees("LlamaDecoderLayer.forward")
        terminal.type(ESCAPE + "i")
        assert traffic.event("stopped")["text"] == "before model.layers.2.input_layernorm in step 0"
        terminal.sees("stopped because of step")
        terminal.type("n")
        assert traffic.event("stopped")["text"] == "before model.layers.2.self_attn in step 0"
        terminal.sees("model.layers.2.self_attn")

        for _ in range(GENERATION["max_new_tokens"] - 1):
            terminal.type("c")
            assert traffic.event("stopped")["reason"] == "breakpoint"
            terminal.sees("stopped because of breakpoint")
        terminal.type("c")
        assert traffic.event("stopped")["description"] == "generation finished"
        terminal.sees("generation finished")
        terminal.type("c")
        traffic.event("terminated")
        terminal.sees("Terminated debugging session")
        terminal.type(ESCAPE + ":quit-all!\r")

    assert traffic.request("initialize")["clientID"] == "hx"
    assert traffic.request("launch")["generation"] == json.dumps(GENERATION)
    assert traffic.output() == plain.texts(PROMPT, max_new_tokens=4)[0] + "\n"
    assert has_ended(traffic.process())
