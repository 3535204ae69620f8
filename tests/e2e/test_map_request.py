"""The map of the loaded model, asked for over the wire."""

from __future__ import annotations

from pathlib import Path

from dap_server.modelmap.text import read_map
from tests.e2e.conftest import Run

WRITTEN = Path(__file__).parents[2] / "fixtures" / "maps" / "atlas.llmmap"


def without_name(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("# model: ")]


def test_the_map_of_a_session_is_the_one_that_the_command_writes(run: Run, example_model: Path) -> None:
    client = run("model.layers.3", prompt="The capital of France is", generation={"max_new_tokens": 1})
    client.stop()
    text = client.ask("llm/map")["text"]
    assert without_name(text) == without_name(WRITTEN.read_text(encoding="utf-8"))
    assert not read_map(text).problems
    assert read_map(text).model == str(example_model)


def test_asking_for_the_map_leaves_a_sampled_run_as_it_is(run: Run) -> None:
    options = {"max_new_tokens": 6, "do_sample": True, "temperature": 2.0}
    texts = []
    for asks in (False, True):
        client = run("before:sample", prompt="The capital of", generation=options, seed=3)
        client.stop()
        if asks:
            client.ask("llm/map")
        client.break_at()
        client.ask("continue", threadId=1)
        client.stop()
        texts.append([token["id"] for token in client.ask("llm/generation")["tokens"]])
    assert texts[0] == texts[1]
