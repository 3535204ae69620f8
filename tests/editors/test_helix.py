"""Helix, set up as docs/editors.md says, in a terminal: a session on the example model, by its keys."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.conftest import has_ended
from tests.e2e.plain import Plain
from tests.editors.conftest import ROOT, Editor, MapFile
from tests.editors.settings import settings
from tests.editors.terminal import Terminal
from tests.editors.traffic import Json, Traffic

PROMPT = "The capital of France is"
ESCAPE = "\x1b[27u"
"""The key in the form that is no beginning of another."""
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
        stops = Stops(traffic)
        assert stops.next()["reason"] == "breakpoint"
        assert traffic.request("setBreakpoints")["breakpoints"] == [{"line": line}]
        terminal.sees(f"▶ {line} model.layers.2 LlamaDecoderLayer")

        press(terminal, "v")
        terminal.sees("hidden_states: Tensor = float32 [1, 6, 192] cpu")
        press(terminal, "sf")
        terminal.sees("LlamaDecoderLayer.forward")
        press(terminal, "i")
        assert stops.next()["text"] == "before model.layers.2.input_layernorm in step 0"
        terminal.sees(f"▶ {line + 1} model.layers.2.input_layernorm")
        press(terminal, "n")
        assert stops.next()["text"] == "before model.layers.2.self_attn in step 0"
        terminal.sees(f"▶ {line + 2} model.layers.2.self_attn")

        for _ in range(GENERATION["max_new_tokens"] - 1):
            press(terminal, "c")
            assert stops.next()["reason"] == "breakpoint"
        press(terminal, "c")
        assert stops.next()["description"] == "generation finished"
        press(terminal, "c")
        traffic.event("terminated")
        traffic.request("disconnect")
        terminal.type(3 * ESCAPE + ":quit-all!\r")

    assert traffic.request("initialize")["clientID"] == "hx"
    assert traffic.request("launch")["generation"] == json.dumps(GENERATION)
    assert traffic.output() == plain.texts(PROMPT, max_new_tokens=4)[0] + "\n"
    assert has_ended(traffic.process())


def press(terminal: Terminal, keys: str) -> None:
    """Keys of the debug menu, after leaving lists, popups and the menu."""
    terminal.type(3 * ESCAPE + f" G{keys}")


class Stops:
    """Those that Helix has heard of: it then asks for the stack twice, and takes no key before it has it."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._count = 0

    def next(self) -> Json:
        body = self._traffic.event("stopped")
        self._count += 1
        self._traffic.request("stackTrace", count=2 * self._count)
        return body
