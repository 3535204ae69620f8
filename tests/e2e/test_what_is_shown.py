"""What the independent client is shown at a stop: every number against plain torch or a calculation in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.e2e.conftest import Run
from tests.e2e.plain import Choice, Plain
from tests.e2e.raw_client import Json, RawClient, Refused, names, to_the_end, values

PROMPT = "The capital of France is"
PROMPTS = [PROMPT, "one two three", "Repeat: red lamp tree moon. Again:"]


def elements(rows: dict[str, Json]) -> list[float]:
    """The numbers of a page of a float32 vector."""
    return [float(np.float32(row["value"])) for name, row in rows.items() if name.startswith("[")]


# --- values


def test_what_was_stepped_over_shows_what_it_returned(run: Run, plain: Plain) -> None:
    client = run("*.layers.3", prompt=PROMPT)
    client.stop()
    client.move("next")
    returned = client.open(client.scope("Returned")["model.layers.3"])
    expected = plain.output_of("model.layers.3", PROMPT)
    row = client.open(client.open(returned["[0]"])["[4]"])
    assert elements(row) == expected[0, 4, :100].tolist()


def test_what_a_module_returned_is_a_copy_that_is_not_written(run: Run) -> None:
    client = run("*.layers.3", prompt=PROMPT)
    client.stop()
    client.move("next")
    returned = client.scope("Returned")["model.layers.3"]
    hidden = returned if "memoryReference" in returned else client.open(returned)["[0]"]
    with pytest.raises(Refused, match="worked out for you"):
        client.ask("writeMemory", memoryReference=hidden["memoryReference"], data="AAAA")


@pytest.mark.parametrize("sampled", [False, True], ids=["greedy", "sampled"])
def test_the_sampling_scope_agrees_with_float64(run: Run, plain: Plain, sampled: bool) -> None:
    warp: dict[str, Any] = {"temperature": 1.3, "top_k": 30} if sampled else {}
    options = {"max_new_tokens": 4, "do_sample": sampled, **warp}
    prompt = "The capital of"
    asked = {"output_logits": True, "return_dict_in_generate": True}
    expected = plain.generate(prompt, seed=5, **options, **asked)
    generated = expected.sequences[0, plain.encode(prompt)["input_ids"].shape[1] :].tolist()

    client = run("sample", prompt=prompt, seed=5, generation=options)
    for token, logits in zip(generated, expected.logits, strict=True):
        client.stop()
        choice = Choice(logits[0], **warp)
        rows = client.scope("Sampling")
        shown = values(rows)
        assert (shown["token"], shown["id"], shown["state"]) == (plain.token(token), str(token), "will be chosen")
        assert float(shown["probability"]) == pytest.approx(choice.probs[token], rel=1e-6)
        assert float(shown["entropy"]) == pytest.approx(choice.entropy, rel=1e-6)
        assert int(shown["rank"]) == choice.rank(token)
        top = [line.rsplit("  ", 2) for line in values(client.open(rows["top"])).values()]
        assert [float(p) for _, _, p in top] == pytest.approx(choice.probs[choice.best(10)].tolist(), rel=1e-5)
        ids = [int(label.removeprefix("id ")) for _, label, _ in top]
        assert ids == choice.best(10)
        assert [text for text, _, _ in top] == [plain.token(i) for i in ids]
        first = client.open(rows["logits"], filter="indexed", start=0, count=50)
        assert elements(first) == logits[0, :50].tolist()
        client.ask("continue", threadId=1)
    client.stop()
    assert client.output() == plain.decode(expected.sequences[0]) + "\n"


def test_after_sample_the_token_is_chosen(run: Run) -> None:
    client = run("after:sample", prompt=PROMPT)
    client.stop()
    assert client.place() == "sample (after)"
    shown = values(client.scope("Sampling"))
    assert (shown["token"], shown["state"]) == ("' Paris'", "chosen")


def test_after_a_module_its_output_is_what_a_hook_sees(run: Run, plain: Plain) -> None:
    client = run("after:*.layers.2", prompts=PROMPTS)
    client.stop()
    assert client.place() == "model.layers.2 (after)"
    expected = plain.output_of("model.layers.2", *PROMPTS)  # (B, T, D)
    output = client.scope("Output")["output"]
    assert output["value"].startswith(f"float32 {list(expected.shape)} cpu")
    assert (output["namedVariables"], output["indexedVariables"]) == (5, 3)
    sequences = client.open(output)
    for i in range(3):
        position = client.open(sequences[f"[{i}]"])["[9]"]
        rows = client.open(position, filter="indexed", start=0, count=expected.shape[2])
        assert elements(rows) == expected[i, 9].tolist()

    wide = expected.double()
    shown = values(client.open(sequences["statistics"]))
    assert float(shown["mean"]) == pytest.approx(wide.mean().item(), rel=1e-8)
    assert float(shown["std"]) == pytest.approx(wide.std(correction=0).item(), rel=1e-8)
    assert float(shown["min"]) == pytest.approx(wide.min().item(), rel=1e-8)
    assert float(shown["max"]) == pytest.approx(wide.max().item(), rel=1e-8)
    assert float(shown["norm"]) == pytest.approx(wide.norm().item(), rel=1e-8)
    assert client.evaluate("output[1, 9, :3].tolist()[2]") == repr(expected[1, 9, 2].item())


def test_the_stack_comes_in_pages_with_the_history_below(run: Run, plain: Plain) -> None:
    count = 45
    client = run(prompt=PROMPT, generation={"max_new_tokens": count, "min_new_tokens": count})
    assert client.stop()["description"] == "generation finished"
    pages = [
        client.ask("stackTrace", threadId=1, startFrame=start, levels=levels)
        for start, levels in [(0, 1), (1, 19), (20, 20), (40, 20)]
    ]
    frames = [frame for page in pages for frame in page["stackFrames"]]
    assert [len(page["stackFrames"]) for page in pages] == [1, 19, 20, len(frames) - 40]
    assert [page.get("totalFrames") for page in pages] == [None, None, None, len(frames)]
    assert names(client.frames()) == names(frames), "in one request as in pages"

    row = plain.generate(PROMPT, max_new_tokens=count, min_new_tokens=count)[0].tolist()
    tokens = [plain.token(token) for token in row[-count:]]
    current, history, *steps = frames
    assert (current["name"], history["presentationHint"]) == (f"step {count - 1} (end of the generation)", "label")
    for step, frame in zip(reversed(range(count)), steps[:-1], strict=True):
        assert frame["name"].startswith(f"step {step}  {tokens[step]}  ")
        assert frame["presentationHint"] == "subtle"
    assert steps[-1]["name"] == f"prompt  {PROMPT!r}  {len(row) - count} tokens"
    past = values(client.scope("Token", steps[-2]))
    assert (past["token"], past["id"]) == (tokens[0], str(row[-count]))


def test_the_stack_names_what_runs_and_what_has_run(run: Run, example_model: Path) -> None:
    client = run("*.layers.2.mlp", prompt=PROMPT)
    client.stop()
    client.move("continue")
    frames = client.frames()
    past = "step 0  ' Paris'"
    assert [name[: len(past)] if name.startswith("step 0") else name for name in names(frames)] == [
        "model.layers.2.mlp (before)",
        "LlamaMLP.forward",
        "model.layers.2",
        "LlamaDecoderLayer.forward",
        "model",
        "LlamaModel.forward",
        "LlamaForCausalLM",
        "LlamaForCausalLM.forward",
        "step 1",
        "history",
        "model.layers.1 (done)",
        "model.layers.0 (done)",
        past,
        f"prompt  {PROMPT!r}  6 tokens",
    ]
    for frame in frames:
        if frame["name"].endswith(".forward"):
            line = Path(frame["source"]["path"]).read_text().splitlines()[frame["line"] - 1]
            assert frame["name"] != "LlamaMLP.forward" or "def forward" in line
        elif "source" in frame:
            line = Path(frame["source"]["path"]).read_text().splitlines()[frame["line"] - 1]
            place = line.split()[0]
            named = "LlamaForCausalLM" if place == "." else place
            assert frame["name"].startswith((named, "prompt") if place == "step" else named)
    assert frames[9]["name"] == "history"
    assert "source" not in frames[9]


def test_elements_come_in_pages(run: Run, plain: Plain) -> None:
    asked = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": 1}
    expected = plain.generate(PROMPT, **asked).logits[0][0]
    client = run("sample", prompt=PROMPT)
    client.stop()
    logits = client.scope("Sampling")["logits"]
    size = len(expected)
    assert logits["indexedVariables"] == size
    page = client.open(logits, filter="indexed", start=1000, count=7)
    assert list(page) == [f"[{i}]" for i in range(1000, 1007)]
    assert elements(page) == expected[1000:1007].tolist()
    last = client.open(logits, filter="indexed", start=size - 3, count=100)
    assert elements(last) == expected[-3:].tolist()
    named = client.open(logits, filter="named")
    assert list(named) == ["statistics", "axes", "shape", "dtype", "device"]
    unasked = client.open(logits)
    assert len(unasked) == len(named) + 100, "a client that cannot page does not get a whole tensor"
    best = client.evaluate("int(logits.argmax())")
    assert best == str(int(torch.argmax(expected)))


def test_positions_show_their_tokens(run: Run, plain: Plain) -> None:
    client = run("*.layers.0", prompts=PROMPTS)
    client.stop()
    ids = plain.encode(*PROMPTS)["input_ids"]
    hidden = client.open(client.scope("Inputs")["hidden_states"])
    root = next(frame for frame in client.frames() if frame["name"] == "LlamaForCausalLM")
    given = client.open(client.scope("Inputs", root)["input_ids"])
    for i, row in enumerate(ids.tolist()):
        shown = values(client.open(hidden[f"[{i}]"], filter="indexed", start=0, count=20))
        assert list(shown) == [f"[{position}]" for position in range(len(row))], "names are stable"
        for line, token in zip(shown.values(), row, strict=True):
            assert line.startswith(f"{plain.token(token)}  float32 [192] cpu")
        texts = values(client.open(given[f"[{i}]"], filter="indexed"))
        assert list(texts.values()) == [f"{plain.token(token)}  {token}" for token in row]


def test_parameters_are_those_of_the_checkpoint(run: Run, plain: Plain) -> None:
    client = run("*.layers.1.self_attn.q_proj", prompt=PROMPT)
    client.stop()
    weight = client.scope("Parameters")["weight"]
    page = client.open(client.open(weight, filter="indexed", start=191, count=1)["[191]"], filter="indexed", count=9)
    assert elements(page) == plain.model.model.layers[1].self_attn.q_proj.weight[191, :9].tolist()


# --- expressions


@pytest.fixture(scope="module")
def before_layer_3(session: RawClient, example_model: Path) -> tuple[RawClient, int]:
    """A session that stands before layer 3, and its top frame. Nothing that uses it moves on."""
    session.restart(["*.layers.3"], model=str(example_model), prompt=PROMPT)
    session.stop()
    return session, session.frames(levels=1)[0]["id"]


@pytest.mark.parametrize("context", ["repl", "watch", "clipboard"])
def test_expressions_see_the_names_of_the_frame(before_layer_3: tuple[RawClient, int], context: str) -> None:
    client, frame = before_layer_3
    assert client.evaluate("1 + 1", context) == "2"
    assert client.evaluate("hidden_states.shape[2] * layer", context, frameId=frame) == "576"
    assert client.evaluate("(path, phase, step)", context, frameId=frame) == "('model.layers.3', 'before', 0)"
    assert client.evaluate("model.layers.3.mlp", context, frameId=frame).startswith("LlamaMLP · ")
    with pytest.raises(Refused, match=r"NameError.*did you mean 'hidden_states'"):
        client.evaluate("hiden_states", context, frameId=frame)
    with pytest.raises(Refused, match="ZeroDivisionError"):
        client.evaluate("1 / 0", context, frameId=frame)


def test_the_console_keeps_the_names_it_assigns(before_layer_3: tuple[RawClient, int]) -> None:
    client, frame = before_layer_3
    assert client.evaluate("kept = hidden_states.sum()", frameId=frame) == ""
    assert client.evaluate("torch.equal(kept, hidden_states.sum())", frameId=frame) == "True"


@pytest.mark.parametrize(
    "expression", ["hidden_states", "module.mlp", "model.layers.3.mlp", "hidden_states[0, -1]", "inputs['use_cache']"]
)
def test_hovering_looks_at_names_attributes_and_items(before_layer_3: tuple[RawClient, int], expression: str) -> None:
    client, frame = before_layer_3
    assert client.evaluate(expression, "hover", frameId=frame)


@pytest.mark.parametrize(
    "expression", ["hidden_states.sum()", "hidden_states + 1", "[1, 2]", "x := 1", "(lambda: 1)()", "", "model.device"]
)
def test_hovering_runs_no_code(before_layer_3: tuple[RawClient, int], expression: str) -> None:
    client, frame = before_layer_3
    with pytest.raises(Refused) as refused:
        client.evaluate(expression, "hover", frameId=frame)
    assert refused.value.id == 30


def test_names_are_completed(before_layer_3: tuple[RawClient, int]) -> None:
    client, frame = before_layer_3

    def complete(text: str) -> list[tuple[str, str]]:
        targets = client.ask("completions", text=text, column=len(text) + 1, frameId=frame)["targets"]
        return [(text[: t["start"]] + t["label"], text[t["start"] : t["start"] + t["length"]]) for t in targets]

    assert complete("1 + hidden_s") == [("1 + hidden_states", "hidden_s")]
    assert complete("module.mlp.up") == [("module.mlp.up_proj", "up")]
    assert ("model.generation_config", "gen") in complete("model.gen")
    assert complete("nothing_like_this") == []


# --- errors


def test_references_of_an_earlier_stop_are_errors(run: Run) -> None:
    client = run("*.layers.3", prompt=PROMPT)
    client.stop()
    frame = client.frames(levels=1)[0]
    scope = client.scopes(frame)["Inputs"]
    client.move("next")
    for command, arguments in (
        ("scopes", {"frameId": frame["id"]}),
        ("variables", {"variablesReference": scope["variablesReference"]}),
        ("evaluate", {"expression": "1", "frameId": frame["id"]}),
        ("stepInTargets", {"frameId": frame["id"]}),
        ("variables", {"variablesReference": 2_000_000_000}),
    ):
        with pytest.raises(Refused, match="not of this stop") as refused:
            client.ask(command, **arguments)
        assert refused.value.id == 31
    with pytest.raises(Refused, match=r"no thread 7 at `\$\.threadId`"):
        client.ask("stackTrace", threadId=7)
    assert client.frames(levels=1)[0]["id"] > frame["id"], "numbers are not used again"


def test_breakpoints_that_cannot_be_say_why(run: Run) -> None:
    client = run(prompt=PROMPT, stopOnEntry=True)
    client.stop()
    wanted = ["*.layer.3", "LlamaMPL", "before: sample", "during:model", "model..norm", "LlamaMLP"]
    missing, misspelt, good, prefix, empty, many = client.break_at(*wanted)
    assert (missing["verified"], missing["reason"]) == (False, "failed")
    assert missing["message"].startswith("no module or class of LlamaForCausalLM matches '*.layer.3'")
    assert "did you mean 'LlamaMLP'" in misspelt["message"]
    assert good["verified"]
    assert prefix["message"] == "unknown prefix 'during:': use 'before:' or 'after:'"
    assert "empty path segment" in empty["message"]
    assert (many["verified"], many["message"]) == (True, "6 places")
    lines = client.ask("setBreakpoints", source={"path": "/some/file.txt"}, breakpoints=[{"line": 3}])["breakpoints"]
    assert not lines[0]["verified"]
    assert "neither a model map nor Python" in lines[0]["message"]


def test_a_call_of_the_model_that_is_typed_at_a_stop_gives_its_value_and_stops_nowhere(run: Run, plain: Plain) -> None:
    client = run("model.layers.1.mlp", prompt=PROMPT, generation={"max_new_tokens": 2})
    client.stop()
    ids = plain.encode(PROMPT)["input_ids"]
    with torch.no_grad():
        expected = int(plain.model(ids).logits[0, -1].argmax())
    for path in ("model", "model.model", "model.model.layers[1].mlp"):
        given = "x" if path.endswith("mlp") else "input_ids"
        client.evaluate(f"answer = {path}({given})")
    assert client.evaluate("int(model(input_ids).logits[0, -1].argmax())") == str(expected)
    assert client.evaluate("model.generate(input_ids, max_new_tokens=1)[0, -1].item()") == str(expected)
    assert client.place() == "model.layers.1.mlp (before)"
    assert client.move("continue")["text"] == "before model.layers.1.mlp in step 1"
    assert to_the_end(client) == plain.texts(PROMPT, max_new_tokens=2)[0]
