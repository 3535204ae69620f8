"""Programs that are launched unchanged: their models are debugged where they call them, their lines in one session.

What they print is compared with what they print alone.
"""

from __future__ import annotations

from tests.e2e.conftest import Spawn
from tests.e2e.programs import alone, line_of, path_of
from tests.e2e.raw_client import RawClient, names

PROMPTS, OWN = path_of("prompts.py"), path_of("own_transformer.py")
UNSURE = {"filterId": "lowConfidence", "condition": "uncertainty > 0.05"}


def test_lines_layers_and_anomalies_of_a_script_stop_in_one_session_and_change_nothing(spawn: Spawn) -> None:
    client = spawn()
    asks, prints = line_of("prompts.py", "model.generate"), line_of("prompts.py", "print(")
    launch = client.begin(["*.layers.3"], program=PROMPTS, lines={PROMPTS: [{"line": asks}]}, exceptions=[UNSURE])
    client.response(launch)

    at_line = client.stop()
    assert at_line["reason"] == "breakpoint"
    answer, main, _ = client.frames()
    assert (answer["name"], answer["line"], answer["source"]["path"]) == ("answer", asks, PROMPTS)
    assert (main["name"], main["line"]) == ("main", prints)
    assert client.evaluate("prompt", frameId=answer["id"]) == "'The capital of France is'"

    at_layer = client.move("continue")
    assert at_layer["description"] == "function breakpoint: before model.layers.3 in step 0"
    stack = client.frames()
    assert names(stack)[0] == "model.layers.3 (before)"
    assert stack[0]["source"]["path"].endswith(".llmmap")
    assert [f["line"] for f in stack if f.get("source", {}).get("path") == PROMPTS][:2] == [asks, prints]

    unsure = client.move("continue")
    assert unsure["description"].startswith("exception: after sample in step 0")

    assert client.move("continue")["text"] == "before model.layers.3 in step 1"
    assert client.move("stepBack")["text"] == "before model.layers.2 in step 1"
    hidden = client.scope("Inputs")["hidden_states"]["value"]
    client.ask("llm/runToStep", step=0)
    client.stop()
    assert client.place() == "step 0 (prefill)"
    client.ask("llm/runToStep", step=1, path="model.layers.2")
    client.stop()
    assert client.scope("Inputs")["hidden_states"]["value"] == hidden

    run_out(client)
    assert client.end() == 0
    assert client.output() == alone("prompts.py")


def test_a_transformer_in_plain_pytorch_is_debugged_the_same_way(spawn: Spawn) -> None:
    client = spawn()
    generates = line_of("own_transformer.py", "logits = model(")
    client.response(client.begin(program=OWN, lines={OWN: [{"line": generates, "hitCondition": "3"}]}))
    client.stop()
    assert client.frames()[0]["line"] == generates
    before = client.evaluate("text")

    [placed] = client.break_at("blocks.1.attention")
    assert placed["verified"], "the model is known since it was trained"
    at_layer = client.move("continue")
    assert at_layer["text"] == "before blocks.1.attention in step 0"
    stack = client.frames()
    assert names(stack)[:3] == ["blocks.1.attention (before)", "Attention.forward", "blocks.1"]
    assert "generate" in names(stack)
    [x] = client.scope("Inputs").values()
    assert x["value"].startswith("float32 [1, 11, 32]"), f"{before} has so many letters"

    assert client.move("stepIn")["text"] == "before blocks.1.attention.qkv in step 0"
    assert client.move("next")["text"] == "before blocks.1.attention.out in step 0"
    assert client.move("stepBack")["text"] == "before blocks.1.attention.qkv in step 0"
    assert client.move("stepOut")["text"] == "after blocks.1.attention in step 0"

    run_out(client)
    assert client.end() == 0
    assert client.output() == alone("own_transformer.py")


def run_out(client: RawClient) -> None:
    """Lets it go past everything."""
    client.break_at()
    client.ask("setExceptionBreakpoints", filters=[])
    for program in (PROMPTS, OWN):
        client.ask("setBreakpoints", source={"path": program}, breakpoints=[])
    client.ask("continue", threadId=1)
