"""Sessions by a client that shares no code with the adapter, over stdio and TCP, in the real example model.

What comes out is compared with plain transformers in the test's own process.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Run, Spawn, closing
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, names, values

PROMPT = "The capital of France is"
PROMPTS = [PROMPT, "one two three", "Repeat: red lamp tree moon. Again:"]
LONG = {"max_new_tokens": 400, "min_new_tokens": 400}
"""Seconds of generation that nothing ends before its time."""


# --- a whole session


def test_a_session_from_initialize_to_terminated(spawn: Spawn, example_model: Path, plain: Plain) -> None:
    client = spawn()
    generation = {"max_new_tokens": 8}
    launch = client.begin(
        ["*.layers.3"], model=str(example_model), prompt=PROMPT, generation=generation, stopAtEnd=False
    )
    pending = client.break_at("*.layers.3")[0]
    assert (pending["verified"], pending["reason"]) == (False, "pending")
    client.response(launch)
    settled = client.event("breakpoint")["breakpoint"]
    assert settled == {"id": pending["id"], "verified": True}

    stopped = client.stop()
    assert (stopped["reason"], stopped["hitBreakpointIds"]) == ("function breakpoint", [pending["id"]])
    assert stopped["allThreadsStopped"]
    assert client.place() == "model.layers.3 (before)"
    assert client.move("next")["reason"] == "step"
    assert client.place() == "model.layers.4 (before)"
    client.move("stepIn")
    assert client.place() == "model.layers.4.input_layernorm (before)", "called first, though not registered first"
    client.move("stepOut")
    assert client.place() == "model.layers.4 (after)"

    steps = 0
    client.ask("continue", threadId=1)
    while (body := client.event("stopped", "exited"))["event"] == "stopped":
        steps += 1
        assert client.place() == "model.layers.3 (before)"
        client.ask("continue", threadId=1)
    assert body["exitCode"] == 0
    client.event("terminated")
    assert steps == generation["max_new_tokens"] - 1
    assert client.output() == plain.texts(PROMPT, **generation)[0] + "\n"
    assert client.output("stderr") == ""

    events = [message["event"] for message in client.messages if message["type"] == "event"]
    assert [event for event in events if event in ("exited", "terminated")] == ["exited", "terminated"]
    progress = [m["body"] for m in client.messages if m.get("event", "").startswith("progress")]
    assert {body["progressId"] for body in progress} == {progress[0]["progressId"]}
    percentages = [body["percentage"] for body in progress if "percentage" in body]
    assert percentages == sorted(percentages)
    assert percentages[-1] == 100


OPTIONAL: dict[str, tuple[str, Json]] = {
    "supportsBreakpointLocationsRequest": ("breakpointLocations", {"source": {"path": "none"}, "line": 1}),
    "supportsCancelRequest": ("cancel", {}),
    "supportsCompletionsRequest": ("completions", {"text": "", "column": 1, "frameId": 0}),
    "supportsDataBreakpoints": ("dataBreakpointInfo", {"name": "none"}),
    "supportsDisassembleRequest": ("disassemble", {"memoryReference": "", "instructionCount": 1}),
    "supportsEvaluateForHovers": ("evaluate", {"expression": "", "context": "hover"}),
    "supportsExceptionInfoRequest": ("exceptionInfo", {"threadId": 999}),
    "supportsFunctionBreakpoints": ("setFunctionBreakpoints", {"breakpoints": []}),
    "supportsGotoTargetsRequest": ("gotoTargets", {"source": {"path": "none"}, "line": 1}),
    "supportsInstructionBreakpoints": ("setInstructionBreakpoints", {"breakpoints": []}),
    "supportsLoadedSourcesRequest": ("loadedSources", {}),
    "supportsModulesRequest": ("modules", {}),
    "supportsReadMemoryRequest": ("readMemory", {"memoryReference": "", "count": 1}),
    "supportsRestartFrame": ("restartFrame", {"frameId": 0}),
    "supportsSetExpression": ("setExpression", {"expression": "", "value": ""}),
    "supportsSetVariable": ("setVariable", {"variablesReference": 2_000_000_000, "name": "", "value": ""}),
    "supportsStepBack": ("stepBack", {"threadId": 999}),
    "supportsStepInTargetsRequest": ("stepInTargets", {"frameId": 0}),
    "supportsTerminateThreadsRequest": ("terminateThreads", {"threadIds": []}),
    "supportsWriteMemoryRequest": ("writeMemory", {"memoryReference": "", "data": ""}),
}
"""Capabilities that stand for a request, and one of these that changes nothing."""


@pytest.mark.parametrize("capability", OPTIONAL)
def test_what_is_advertised_exists_and_nothing_else(session: RawClient, capability: str) -> None:
    command, arguments = OPTIONAL[capability]
    exists = True
    try:
        session.ask(command, **arguments)
    except Refused as refused:
        exists = refused.id != 5  # unknown request
    assert session.capabilities.get(capability, False) is exists


# --- the text


def test_the_text_of_a_sampled_run_is_that_of_plain_generate(run: Run, plain: Plain) -> None:
    prompt, options = "The capital of", {"do_sample": True, "temperature": 1.4, "top_k": 40, "max_new_tokens": 12}
    client = run("*.layers.0", "sample", prompt=prompt, seed=11, generation=options)
    while (stopped := client.stop())["description"] != "generation finished":
        if stopped["text"].startswith("before sample"):
            client.scope("Sampling")  # looks ahead, and leaves the random state as it was
            client.evaluate("torch.rand(3)")
        client.ask("continue", threadId=1)
    expected = plain.texts(prompt, seed=11, **options)[0]
    assert client.output() == expected + "\n"
    assert expected != plain.texts(prompt, seed=12, **options)[0], "a seed that matters"


def test_a_batch_is_as_many_threads_as_sequences(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 6}
    client = run("*.layers.2", prompts=PROMPTS, generation=options)
    client.stop()
    threads = client.ask("threads")["threads"]
    assert [thread["id"] for thread in threads] == [1, 2, 3]
    assert [thread["name"] for thread in threads] == [f"sequence {i}: {p}" for i, p in enumerate(PROMPTS, start=1)]
    assert client.output() == PROMPT
    client.move("continue")
    assert client.ask("threads")["threads"] == threads, "names are stable"

    sequences = plain.generate(*PROMPTS, **options)
    width = plain.encode(*PROMPTS)["input_ids"].shape[1]
    for thread, prompt, row in zip(threads, PROMPTS, sequences, strict=True):
        frames = client.frames(thread["id"])
        assert frames[0]["name"] == "model.layers.2 (before)"
        assert frames[-2]["name"].startswith(f"step 0  {plain.token(row[width])}  ")
        assert frames[-1]["name"].startswith(f"prompt  {prompt!r}  ")
    tokens = values(client.scope("Tokens", client.frames(2)[0]))
    assert tokens.pop("prompt") == repr(PROMPTS[1])
    padding = width - len(plain.encode(PROMPTS[1])["input_ids"][0])
    assert [line.endswith("padding") for line in tokens.values()] == [i < padding for i in range(len(tokens))]
    for line, token in zip(tokens.values(), sequences[1], strict=False):
        assert line.startswith(f"{plain.token(token)}  id {token}")

    client.break_at()
    assert client.move("continue")["description"] == "generation finished"
    first, *others = [plain.decode(row) for row in sequences]
    labelled = [f"[sequence {i}] {text}\n" for i, text in enumerate(others, start=2)]
    assert client.output() == "".join([f"{first}\n", *labelled])
    finished = client.ask("threads")["threads"]
    assert [thread["name"] for thread in finished] == [f"{thread['name']} (finished)" for thread in threads]


def test_a_chat_goes_through_the_template(run: Run, plain: Plain) -> None:
    messages = [{"role": "user", "content": "What is the capital of Japan?"}]
    client = run(messages=messages, generation={"max_new_tokens": 12})
    assert client.stop()["description"] == "generation finished"
    assert client.output() == plain.answer(messages, max_new_tokens=12) + "\n"
    assert "Tokyo" in client.output()


# --- stepping


def test_step_in_goes_to_the_chosen_submodule(run: Run) -> None:
    client = run("*.layers.1", prompt=PROMPT)
    client.stop()
    targets = client.ask("stepInTargets", frameId=client.frames(levels=1)[0]["id"])["targets"]
    labels = {target["label"]: target["id"] for target in targets}
    assert "model.layers.1.self_attn · LlamaAttention" in labels
    client.move("stepIn", targetId=labels["model.layers.1.mlp · LlamaMLP"])
    assert client.place() == "model.layers.1.mlp (before)"
    with pytest.raises(Refused, match="no target 99"):
        client.ask("stepIn", threadId=1, targetId=99)
    assert client.place() == "model.layers.1.mlp (before)", "what is refused moves nothing"


def test_stepping_over_walks_through_a_layer_in_the_order_of_its_calls(run: Run) -> None:
    client = run("*.layers.5.input_layernorm", prompt=PROMPT, generation={"max_new_tokens": 2})
    client.stop()
    client.break_at()
    seen = [client.place()]
    while not seen[-1].startswith("step "):
        client.move("next")
        seen.append(client.place())
    assert seen == [
        "model.layers.5.input_layernorm (before)",
        "model.layers.5.self_attn (before)",
        "model.layers.5.post_attention_layernorm (before)",
        "model.layers.5.mlp (before)",
        "model.layers.5 (after)",
        "model.norm (before)",
        "model (after)",
        "lm_head (before)",
        "LlamaForCausalLM (after)",
        "logits (before)",
        "sample (before)",
        "step 1",
    ]


def test_a_breakpoint_on_step_stops_at_every_token(run: Run) -> None:
    client = run("step", prompt=PROMPT, generation={"max_new_tokens": 3})
    places = [client.stop()["text"]]
    while places[-1] != "end of the generation":
        places.append(client.move("continue")["text"])
    assert places == ["step 0", "step 1", "step 2", "end of the generation"]


def test_stop_on_entry_stops_before_the_first_forward(run: Run) -> None:
    client = run(prompt=PROMPT, stopOnEntry=True)
    stopped = client.stop()
    assert (stopped["reason"], client.place()) == ("entry", "step 0 (prefill)")
    client.move("stepIn")
    assert client.place() == "LlamaForCausalLM (before)"


def test_a_pause_in_a_long_run_stops_it_and_every_step_out_goes_one_call_up(run: Run) -> None:
    client = run(prompt="one two three", generation=LONG)
    client.event("output")  # the prompt
    for _ in range(4):
        client.event("output")  # tokens: it runs
        assert client.ask("pause", threadId=1) == {}
        assert client.stop()["reason"] == "pause"
        walk_out(client)
        client.ask("continue", threadId=1)
        with pytest.raises(Refused, match="pause it first") as refused:
            client.frames()
        assert refused.value.message == "notStopped"
    client.ask("pause", threadId=1)
    client.stop()


def test_a_pause_in_a_long_prefill_stops_within_it(run: Run, plain: Plain) -> None:
    prompt = " ".join(["one two three four five six"] * 500)
    assert len(plain.encode(prompt)["input_ids"][0]) == 3001
    client = run("*.layers.1", prompt=prompt, generation={"max_new_tokens": 2})
    client.stop()
    client.break_at()
    client.ask("continue", threadId=1)
    client.ask("pause", threadId=1)
    stopped = client.stop()
    assert stopped["reason"] == "pause"
    assert re.fullmatch(r"before model\.layers\.\d\.[\w.]+ in step 0", stopped["text"]), "a submodule of a layer"
    walk_out(client)


def walk_out(client: RawClient) -> None:
    """Steps out to the next step; every stop is at the end of the module around the last one."""
    stack = names(client.frames())
    index, step = next((i, int(name.split()[1])) for i, name in enumerate(stack) if name.startswith("step "))
    for name in [name for name in stack[:index] if not name.endswith(".forward")][1:]:
        client.move("stepOut")
        assert client.place() == f"{name} (after)"
    client.move("stepOut")
    assert client.place() == f"step {step + 1}"


def test_going_back_and_forth_leaves_the_text_alone(run: Run, plain: Plain) -> None:
    prompt, options = "The capital of", {"do_sample": True, "temperature": 1.4, "top_k": 40, "max_new_tokens": 9}
    client = run("*.layers.2", prompt=prompt, seed=11, generation=options)
    client.stop()
    sums = []
    for _ in range(5):
        client.move("continue")
        sums.append(client.evaluate("hidden_states.double().sum().item()"))
    client.move("stepBack")
    assert client.place() == "model.layers.1 (before)"
    client.move("next")
    assert client.evaluate("hidden_states.double().sum().item()") == sums[4]
    client.move("reverseContinue")
    assert "step 4" in names(client.frames())
    assert client.evaluate("hidden_states.double().sum().item()") == sums[3]
    past = next(frame for frame in client.frames() if frame["name"].startswith("step 2  "))
    chosen = values(client.scope("Sampling", past))
    assert (chosen["token"], chosen["state"]) == (values(client.scope("Token", past))["token"], "chosen")
    client.ask("llm/runToStep", step=7)
    assert client.stop()["reason"] == "goto"
    assert client.place() == "step 7"
    client.break_at()
    assert client.move("continue")["description"] == "generation finished"
    client.move("stepBack")
    assert client.place() == "step 8"
    client.move("continue")
    assert client.output() == plain.texts(prompt, seed=11, **options)[0] + "\n"


def test_beam_search_is_stepped_from_outside(run: Run, plain: Plain) -> None:
    options = {"num_beams": 3, "max_new_tokens": 5}
    client = run("*.layers.3", prompt=PROMPT, generation=options, stopOnEntry=True)
    assert client.stop()["text"] == "before the model in step 0"
    assert client.move("continue")["text"] == "before model.layers.3 in step 0"
    assert client.move("continue")["text"] == "before model.layers.3 in step 1"
    assert client.move("stepBack")["text"] == "before model.layers.2 in step 1"
    assert client.move("reverseContinue")["text"] == "before model.layers.3 in step 0"
    client.break_at()
    assert client.move("stepOut")["text"] == "after model in step 0"
    assert client.move("continue")["description"] == "generation finished"
    assert client.output() == plain.texts(PROMPT, **options)[0] + "\n"


def test_token_selection_has_breakpoints_only_where_the_decoding_method_tells_it(run: Run) -> None:
    few = {"max_new_tokens": 2}
    client = run(prompt=PROMPT, generation=few, stopOnEntry=True)
    client.stop()
    places = ["sample", "logits", "step", "TemperatureLogitsWarper", "*.layers.3"]
    ids = [state["id"] for state in client.break_at(*places)]

    def told(**generation: int) -> dict[int, tuple[bool, str | None]]:
        """What a run begins with."""
        run(*places, prompt=PROMPT, generation={**few, **generation})
        changes = []
        while (body := client.event("breakpoint", "stopped"))["event"] == "breakpoint":
            changes.append((body["reason"], body["breakpoint"]))
        assert {reason for reason, _ in changes} <= {"changed"}
        return {state["id"]: (state["verified"], state.get("message")) for _, state in changes}

    why = "this decoding method does not tell when it is at '{}': set the breakpoint on a module"
    assert told(num_beams=2) == {id: (False, why.format(place)) for id, place in zip(ids[:4], places[:4], strict=True)}
    assert client.place() == "model.layers.3 (before)"
    assert client.break_at(*places)[0]["message"] == why.format("sample"), "also when it is set in the run"
    assert told(num_beams=2) == {}, "nothing new"
    assert told() == dict.fromkeys(ids[:4], (True, None))
    assert client.place() == "step 0 (prefill)"
    client.break_at()


# --- over TCP


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A listening adapter, its port and its token."""
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "dap_server", "adapter", "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            said = re.fullmatch(r"llm-dap adapter listens on 127\.0\.0\.1:(\d+) with the token ([0-9a-f]{64})\n", line)
            assert said, line
            yield process, int(said[1]), said[2]
        finally:
            process.kill()


def test_a_server_takes_one_session_after_another_from_who_knows_the_token(
    server: tuple[subprocess.Popen[str], int, str], tmp_path: Path, example_model: Path, plain: Plain
) -> None:
    process, port, token = server
    file = tmp_path / "llm-dap" / f"{port}.token"
    assert file.read_text() == token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    configuration: Json = {"model": str(example_model), "prompt": PROMPT, "generation": {"max_new_tokens": 6}}
    for wrong in ({}, {"token": "0" * 64}):
        with closing(RawClient.connect(port)) as client:
            assert client.ask("initialize", adapterID="llm-dap")["supportsConfigurationDoneRequest"]
            with pytest.raises(Refused, match="token") as refused:
                client.ask("launch", **configuration, **wrong)
            assert refused.value.id == 6
            client.event("terminated")

    with closing(RawClient.connect(port)) as client:
        launch = client.begin(["*.layers.3"], **configuration, token=token, noDebug=True)
        client.response(launch)
        assert client.end() == 0
        assert client.output() == plain.texts(PROMPT, max_new_tokens=6)[0] + "\n"
        assert not [m for m in client.messages if m.get("event") == "stopped"]

    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not file.exists()
