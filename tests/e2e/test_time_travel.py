"""Going back in time with the independent client, in the example model; all of it against plain transformers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, names, values

PROMPT = "The capital of"
SEED = 11
STEPS = 9
SAMPLED = {"do_sample": True, "temperature": 1.4, "top_k": 40, "max_new_tokens": STEPS, "min_new_tokens": STEPS}
PROMPTS = ["The capital of France is", "one two three", "Repeat: red lamp tree moon. Again:"]
LONG = {"max_new_tokens": 450, "min_new_tokens": 450}
"""More than a second of generation, and of search through it."""

TRAVELS: dict[str, Json] = {
    "stepBack": {"threadId": 1},
    "reverseContinue": {"threadId": 1},
    "goto": {"threadId": 1, "targetId": 1},
    "gotoTargets": {"source": {"path": "none"}, "line": 1},
    "restartFrame": {"frameId": 1},
    "llm/reverseStepIn": {"threadId": 1},
    "llm/reverseStepOut": {"threadId": 1},
    "llm/runToStep": {"step": 0},
}


@contextmanager
def calls(plain: Plain, *paths: str) -> Iterator[dict[str, list[tuple[Tensor, Tensor]]]]:
    """The first input and the output of every call of some modules of plain transformers, in their order."""
    seen: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in paths}
    handles = []
    for path in paths:

        def hook(_module: Any, args: Any, kwargs: Any, output: Any, path: str = path) -> None:
            given = args[0] if args else kwargs["hidden_states"]
            seen[path].append((given, output if isinstance(output, Tensor) else output[0]))

        handles.append(plain.model.get_submodule(path).register_forward_hook(hook, with_kwargs=True))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def last_vector(client: RawClient, tensor: Json, sequence: int = 0) -> list[float]:
    """The elements at the last position of a (B, T, D) tensor, as they are shown."""
    rows = client.open(client.open(tensor)[f"[{sequence}]"])
    last = [row for name, row in rows.items() if name.startswith("[")][-1]
    shown = client.open(last, filter="indexed", start=0, count=last["indexedVariables"])
    return [float(np.float32(row["value"])) for row in shown.values()]


def to(client: RawClient, step: int, path: str | None = None, phase: str = "before") -> Json:
    """Goes to a place."""
    wanted = {"step": step} if path is None else {"step": step, "path": path, "phase": phase}
    client.ask("llm/runToStep", **wanted)
    return client.stop()


def sampled(run: Run, *breakpoints: str) -> RawClient:
    client = run(*breakpoints, prompt=PROMPT, seed=SEED, generation=SAMPLED, stopOnEntry=True)
    assert client.stop()["text"] == "step 0"
    return client


@pytest.fixture(scope="module")
def travelling(session: RawClient, example_model: Path) -> RawClient:
    """A sampled run that every test may leave anywhere: each goes to a place of its own first."""
    session.restart([], model=str(example_model), prompt=PROMPT, seed=SEED, generation=SAMPLED, stopOnEntry=True)
    session.stop()
    return session


# --- the whole way


def test_a_run_that_goes_back_and_forth_has_the_text_of_one_that_does_not(run: Run, plain: Plain) -> None:
    with calls(plain, "model.layers.2", "model.layers.3") as seen:
        expected = plain.texts(PROMPT, seed=SEED, **SAMPLED)[0]
    client = sampled(run, "step")
    for _ in range(6):
        stopped = client.move("continue")
    assert stopped["text"] == "step 6"
    assert client.move("stepBack")["text"] == "step 5"

    client.break_at()
    client.move("stepIn")
    client.move("stepIn")
    targets = client.ask("stepInTargets", frameId=client.frames(levels=1)[0]["id"])["targets"]
    layer = next(target["id"] for target in targets if target["label"].startswith("model.layers.2 "))
    assert client.move("stepIn", targetId=layer)["text"] == "before model.layers.2 in step 5"
    assert last_vector(client, client.scope("Inputs")["hidden_states"]) == seen["model.layers.2"][5][0][0, -1].tolist()
    assert client.move("stepIn")["text"] == "before model.layers.2.input_layernorm in step 5"

    (breakpoint,) = client.break_at("after:*.layers.3")
    for step in (4, 3):
        stopped = client.move("reverseContinue")
        assert (stopped["reason"], stopped["hitBreakpointIds"]) == ("function breakpoint", [breakpoint["id"]])
        assert stopped["text"] == f"after model.layers.3 in step {step}"
        output = last_vector(client, client.scope("Output")["output"])
        assert output == seen["model.layers.3"][step][1][0, -1].tolist()

    client.break_at()
    assert client.move("continue")["description"] == "generation finished"
    assert client.output() == expected + "\n"
    client.break_at("after:*.layers.3")
    assert client.move("reverseContinue")["text"] == f"after model.layers.3 in step {STEPS - 1}"
    client.break_at()
    assert client.move("continue")["description"] == "generation finished"
    assert client.output() == expected + "\n", "nothing is printed twice"
    assert client.output("console") == ""


# --- every move


BACK = [
    ("stepBack", "model.layers.3", "before", "before model.layers.2"),
    ("stepBack", "model.layers.3", "after", "before model.layers.3"),
    ("stepBack", "model.layers.3.mlp", "before", "before model.layers.3.post_attention_layernorm"),
    ("stepBack", "model.layers.3.self_attn.q_proj", "before", "before model.layers.3.self_attn"),
    ("stepBack", "model.layers.3.self_attn.o_proj", "after", "before model.layers.3.self_attn.o_proj"),
    ("stepBack", "model.embed_tokens", "before", "before model"),
    ("stepBack", "lm_head", "before", "before model"),
    ("stepBack", "", "after", "before the model"),
    ("stepBack", "", "before", "step 4"),
    ("stepBack", "logits", "before", "before the model"),
    ("stepBack", "TopKLogitsWarper", "before", "before TemperatureLogitsWarper"),
    ("stepBack", "sample", "after", "before sample"),
    ("stepBack", None, "before", "step 3"),
    ("llm/reverseStepIn", "model.layers.3", "before", "after model.layers.2"),
    ("llm/reverseStepIn", "model.layers.3", "after", "after model.layers.3.mlp"),
    ("llm/reverseStepIn", "model.layers.3.input_layernorm", "before", "before model.layers.3"),
    ("llm/reverseStepIn", "", "before", "step 4"),
    ("llm/reverseStepIn", "sample", "before", "after TopKLogitsWarper"),
    ("llm/reverseStepIn", None, "before", "after sample in step 3"),
    ("llm/reverseStepOut", "model.layers.3.mlp.up_proj", "before", "before model.layers.3.mlp"),
    ("llm/reverseStepOut", "model.layers.3", "after", "before model"),
    ("llm/reverseStepOut", "", "before", "step 4"),
    ("llm/reverseStepOut", "sample", "before", "step 4"),
    ("llm/reverseStepOut", None, "before", "step 3"),
    ("reverseContinue", "model.layers.3", "before", "step 0"),
]


@pytest.mark.parametrize(("command", "path", "phase", "expected"), BACK)
def test_where_going_back_leads(
    travelling: RawClient, command: str, path: str | None, phase: str, expected: str
) -> None:
    client = travelling
    client.break_at()
    assert to(client, 4, path, phase)["reason"] == "goto"
    stopped = client.move(command)
    where = expected if "step" in expected else f"{expected} in step 4"
    assert (stopped["text"], stopped["reason"]) == (where, "entry" if command == "reverseContinue" else "step")
    assert "hitBreakpointIds" not in stopped


def test_before_the_beginning_there_is_nothing(travelling: RawClient) -> None:
    client = travelling
    to(client, 0)
    for command in ("stepBack", "reverseContinue", "llm/reverseStepIn", "llm/reverseStepOut"):
        with pytest.raises(Refused, match="beginning of the call: nothing lies before it") as refused:
            client.ask(command, threadId=1)
        assert refused.value.id == 40
    assert client.place() == "step 0 (prefill)", "it stays where it is"


def test_at_the_end_all_of_it_works(travelling: RawClient) -> None:
    client, last = travelling, STEPS - 1
    for command, expected in (
        ("stepBack", f"step {last}"),
        ("llm/reverseStepIn", f"after sample in step {last}"),
        ("llm/reverseStepOut", f"step {last}"),
        ("reverseContinue", "step 0"),
    ):
        stopped = to(client, STEPS + 20)  # from before the end it leads to the end
        assert (stopped["reason"], stopped["text"]) == ("goto", "end of the generation")
        with pytest.raises(Refused, match=f"its last step is {last}"):
            client.ask("llm/runToStep", step=STEPS)
        assert client.move(command)["text"] == expected


@pytest.mark.parametrize(
    ("step", "path", "phase", "expected"),
    [
        (7, None, "before", "step 7"),
        (7, "model.layers.5.mlp", "after", "after model.layers.5.mlp in step 7"),
        (2, "sample", "after", "after sample in step 2"),
        (0, "lm_head", "before", "before lm_head in step 0"),
        (4, "model.layers.5", "before", "before model.layers.5 in step 4"),
        (3, "EtaLogitsWarper", "before", "step 4"),
        (6, "EtaLogitsWarper", "before", "step 7"),
    ],
    ids=[
        "ahead",
        "ahead, in a module",
        "back",
        "the prefill",
        "in the same step",
        "never passed",
        "never passed, ahead",
    ],
)
def test_any_place_of_any_step_can_be_gone_to(
    travelling: RawClient, step: int, path: str | None, phase: str, expected: str
) -> None:
    to(travelling, 4, "model.layers.1")
    travelling.break_at("*.layers.2", "step")
    stopped = to(travelling, step, path, phase)
    travelling.break_at()
    assert (stopped["text"], stopped["reason"]) == (expected, "goto")
    assert "hitBreakpointIds" not in stopped, "breakpoints on the way do not count"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"step": -1}, r"-1.*\$\.step"),
        ({"step": 1, "path": "model.layer.1"}, r"no module 'model.layer.1'; did you mean 'model.layers.1'.*\$\.path"),
        ({"step": 1, "path": "model.layers"}, r"a list of modules.*\$\.path"),
    ],
)
def test_a_place_that_cannot_be_is_refused(travelling: RawClient, arguments: Json, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        travelling.ask("llm/runToStep", **arguments)
    assert refused.value.id == 2


def test_reverse_continue_finds_the_last_of_several_breakpoints(run: Run) -> None:
    client = sampled(run)
    after_layer, before_sample, step = client.break_at("after:*.layers.1", "sample", "step")
    to(client, 2, "model.layers.4")
    found = [client.move("reverseContinue") for _ in range(6)]
    assert [(stop["text"], stop["hitBreakpointIds"]) for stop in found] == [
        ("after model.layers.1 in step 2", [after_layer["id"]]),
        ("step 2", [step["id"]]),
        ("before sample in step 1", [before_sample["id"]]),
        ("after model.layers.1 in step 1", [after_layer["id"]]),
        ("step 1", [step["id"]]),
        ("before sample in step 0", [before_sample["id"]]),
    ]
    assert {stop["reason"] for stop in found} == {"function breakpoint"}


def test_a_line_of_the_modeling_file_offers_its_modules(travelling: RawClient) -> None:
    client = travelling
    to(client, 4, "model.layers.2")
    client.move("stepIn")
    wanted = ("LlamaDecoderLayer.forward", "LlamaForCausalLM.forward")
    layer, model = (next(f for f in client.frames() if f["name"] == name) for name in wanted)
    labels = [t["label"] for t in client.ask("gotoTargets", source=layer["source"], line=layer["line"])["targets"]]
    assert labels == [f"model.layers.{i} · step {step}" for step in (4, 5) for i in range(6)]
    body = client.ask("gotoTargets", source=model["source"], line=model["line"] + 2)
    labels = [target["label"] for target in body["targets"]]
    assert labels == [f"LlamaForCausalLM · step {step}" for step in (4, 5, 3, 2, 1, 0)]
    assert client.ask("gotoTargets", source=model["source"], line=1)["targets"] == []

    for step in (1, 5):
        to(client, 4, "model.layers.2")
        offers = client.ask("gotoTargets", source=model["source"], line=model["line"])["targets"]
        client.ask("gotoTargets", source=layer["source"], line=layer["line"])  # another line; the first stay valid
        target = next(offer["id"] for offer in offers if offer["label"] == f"LlamaForCausalLM · step {step}")
        stopped = client.move("goto", targetId=target)
        assert (stopped["text"], stopped["reason"]) == (f"before the model in step {step}", "goto")
        with pytest.raises(Refused, match="ask for gotoTargets again"):
            client.ask("goto", threadId=1, targetId=target)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("model.layers.3.mlp (after)", "before model.layers.3.mlp in step 4"),
        ("LlamaDecoderLayer.forward", "before model.layers.3 in step 4"),
        ("model.layers.3", "before model.layers.3 in step 4"),
        ("LlamaForCausalLM", "before the model in step 4"),
        ("step 4", "step 4"),
        ("model.layers.1 (done)", "before model.layers.1 in step 4"),
        ("step 2", "step 2"),
        ("prompt", "step 0"),
    ],
)
def test_a_frame_is_restarted_at_its_beginning(travelling: RawClient, frame: str, expected: str) -> None:
    to(travelling, 4, "model.layers.3.mlp", "after")
    chosen = next(f for f in travelling.frames() if f["name"] == frame or f["name"].startswith(f"{frame}  "))
    travelling.ask("restartFrame", frameId=chosen["id"])
    stopped = travelling.stop()
    assert (stopped["text"], stopped["reason"]) == (expected, "restart")


def test_a_heading_is_no_frame_to_restart(travelling: RawClient) -> None:
    to(travelling, 4)
    heading = next(frame for frame in travelling.frames() if frame.get("presentationHint") == "label")
    with pytest.raises(Refused, match=r"\$\.frameId"):
        travelling.ask("restartFrame", frameId=heading["id"])


# --- looking back


def test_frames_of_the_past_show_what_was(run: Run, plain: Plain) -> None:
    asked = {"output_logits": True, "output_scores": True, "return_dict_in_generate": True}
    with calls(plain, *(f"model.layers.{i}" for i in range(4))) as seen:
        expected = plain.generate(PROMPT, seed=SEED, **SAMPLED, **asked)
    generated = expected.sequences[0, -STEPS:].tolist()
    client = sampled(run)
    to(client, 5, "model.layers.4")
    frames = {frame["name"]: frame for frame in client.frames()}
    for layer in range(4):
        frame = frames[f"model.layers.{layer} (done)"]
        given, made = seen[f"model.layers.{layer}"][5]
        assert client.scopes(frame)["Output"]["expensive"]
        assert last_vector(client, client.scope("Inputs", frame)["hidden_states"]) == given[0, -1].tolist()
        assert last_vector(client, client.scope("Output", frame)["output"]) == made[0, -1].tolist()
    for step in (0, 3):
        frame = next(frame for name, frame in frames.items() if name.startswith(f"step {step}  "))
        choice = client.scope("Sampling", frame)
        shown = values(choice)
        assert (shown["token"], shown["id"], shown["state"]) == (
            plain.token(generated[step]), str(generated[step]), "chosen",
        )  # fmt: skip
        assert shown["processors"].endswith("TemperatureLogitsWarper, TopKLogitsWarper")
        for name, tensors in (("logits", expected.logits), ("scores", expected.scores)):
            page = client.open(choice[name], filter="indexed", start=0, count=60)
            assert [float(np.float32(row["value"])) for row in page.values()] == tensors[step][0, :60].tolist()
        output = client.open(client.scope("Output", frame)["output"])
        assert last_vector(client, output["logits"])[:60] == expected.logits[step][0, :60].tolist()
        assert f"int64 [1, {4 if step == 0 else 1}] cpu" in values(client.scope("Inputs", frame))["input_ids"]
    client.move("continue")
    assert client.output() == plain.decode(expected.sequences[0]) + "\n", "looking changes nothing"


def test_a_batch_goes_back_together(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 6}
    with calls(plain, "model.layers.1") as seen:
        sequences = plain.generate(*PROMPTS, **options)
    client = run("*.layers.2", prompts=PROMPTS, generation=options)
    client.stop()
    to(client, 4, "model.layers.2")
    assert client.move("stepBack")["text"] == "before model.layers.1 in step 4"
    for sequence in range(3):
        shown = last_vector(client, client.scope("Inputs", client.frames(sequence + 1)[0])["hidden_states"], sequence)
        assert shown == seen["model.layers.1"][4][0][sequence, -1].tolist()
        past = next(f for f in client.frames(sequence + 1) if f["name"].startswith("step 2  "))
        token = plain.token(sequences[sequence, -4])
        assert values(client.scope("Sampling", past))["token"] == values(client.scope("Token", past))["token"] == token
    assert client.move("reverseContinue")["text"] == "before model.layers.2 in step 3"
    assert [thread["id"] for thread in client.ask("threads")["threads"]] == [1, 2, 3]
    client.break_at()
    client.move("continue")
    first, *others = [plain.decode(row) for row in sequences]
    assert client.output() == f"{first}\n" + "".join(f"[sequence {i}] {t}\n" for i, t in enumerate(others, start=2))


def test_beam_search_runs_again_from_its_start(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 5, "num_beams": 2}
    with calls(plain, "model.layers.1") as seen:
        expected = plain.texts(PROMPT, **options)[0]
    client = run("*.layers.2", prompt=PROMPT, generation=options)
    client.stop()
    client.move("continue")
    assert client.move("continue")["text"] == "before model.layers.2 in step 2"
    assert client.move("stepBack")["text"] == "before model.layers.1 in step 2"
    shown = last_vector(client, client.scope("Inputs")["hidden_states"], 1)
    assert shown == seen["model.layers.1"][2][0][1, -1].tolist()
    past = next(frame for frame in client.frames() if frame["name"] == "model.layers.0 (done)")
    assert last_vector(client, client.scope("Output", past)["output"], 1) == shown
    assert to(client, 3, "")["text"] == "before the model in step 3"
    assert client.move("stepBack")["text"] == "before the model in step 2", "at a step, the step before"
    assert client.move("llm/reverseStepIn")["text"] == "after the model in step 1"
    client.break_at()
    assert client.move("reverseContinue")["text"] == "before the model in step 0"
    for command in ("stepBack", "reverseContinue", "llm/reverseStepIn", "llm/reverseStepOut"):
        with pytest.raises(Refused, match="nothing lies before"):
            client.ask(command, threadId=1)
    with pytest.raises(Refused, match="does not tell when it is at 'sample'"):
        client.ask("llm/runToStep", step=1, path="sample")
    assert client.move("continue")["description"] == "generation finished"
    assert client.move("stepBack")["text"] == f"before the model in step {options['max_new_tokens'] - 1}"
    client.move("continue")
    assert client.output() == expected + "\n"


def test_a_prefill_in_pieces_goes_back_within_the_piece(run: Run, plain: Plain) -> None:
    prompt, options = "The capital of France is Paris. The capital of", {"max_new_tokens": 4, "prefill_chunk_size": 4}
    with calls(plain, *(f"model.layers.{i}" for i in range(5))) as seen:
        expected = plain.texts(prompt, **options)[0]
    client = run("*.layers.3", prompt=prompt, generation=options)
    client.stop()
    assert client.move("continue")["text"] == "before model.layers.3 in step 0, call 2"
    client.break_at()
    client.move("next")

    def shown() -> list[float]:
        return last_vector(client, client.scope("Inputs")["hidden_states"])

    assert shown() == seen["model.layers.4"][1][0][0, -1].tolist()
    past = next(frame for frame in client.frames() if frame["name"] == "model.layers.1 (done)")
    assert last_vector(client, client.scope("Output", past)["output"]) == seen["model.layers.1"][1][1][0, -1].tolist()
    for layer in (3, 2):
        assert client.move("stepBack")["text"] == f"before model.layers.{layer} in step 0, call 2"
        assert shown() == seen[f"model.layers.{layer}"][1][0][0, -1].tolist()
    frame = next(frame for frame in client.frames() if frame["name"] == "model")
    client.ask("restartFrame", frameId=frame["id"])
    assert client.stop()["text"] == "before model in step 0, call 2"
    client.move("continue")
    assert client.output() == expected + "\n"


# --- what else may happen meanwhile


def test_while_it_runs_there_is_no_way_back(run: Run) -> None:
    client = run(prompt="one two three", generation=LONG)
    client.event("output")
    for command, arguments in TRAVELS.items():
        with pytest.raises(Refused, match="pause it first") as refused:
            client.ask(command, **arguments)
        assert refused.value.message == "notStopped"
    client.ask("pause", threadId=1)
    client.stop()


def test_a_move_of_our_own_is_told_to_clients_that_do_not_know_it(travelling: RawClient) -> None:
    travelling.ask("llm/runToStep", step=2)
    continued = travelling.event("continued", "stopped")
    assert (continued["event"], continued["allThreadsContinued"]) == ("continued", True)
    assert travelling.stop()["text"] == "step 2"
    travelling.ask("stepBack", threadId=1)
    assert travelling.event("continued", "stopped")["event"] == "stopped", "this one they know"


def test_a_resume_cancels_looks_at_the_past_that_wait(run: Run) -> None:
    client = sampled(run)
    to(client, 4, "model.layers.3")
    past = next(frame for frame in client.frames() if frame["name"] == "model.layers.1 (done)")
    scope = client.scopes(past)["Output"]
    busy = client.send("evaluate", expression="__import__('time').sleep(0.3)", context="repl")
    looks = [client.send("variables", variablesReference=scope["variablesReference"]) for _ in range(3)]
    resume = client.send("stepBack", threadId=1)
    for seq in (busy, *looks):
        with pytest.raises(Refused) as refused:
            client.response(seq)
        assert refused.value.message == "cancelled"
    client.response(resume)
    assert client.stop()["text"] == "before model.layers.2 in step 4"


def test_a_long_search_shows_progress_and_can_be_cancelled(run: Run) -> None:
    client = run(prompt=PROMPT, generation=LONG)
    client.stop()
    client.break_at("EtaLogitsWarper")  # which this run does not pass
    for cancel in ("progressId", "requestId", "continue"):
        if cancel == "continue":
            to(client, 440)
        search = client.send("reverseContinue", threadId=1)
        began = client.event("progressStart")
        assert began["cancellable"]
        assert client.event("progressUpdate")["percentage"] >= began["percentage"] > 0
        if cancel == "continue":
            client.ask("continue", threadId=1)
        else:
            client.ask("cancel", **{cancel: began["progressId"] if cancel == "progressId" else search})
        assert client.event("progressEnd")["progressId"] == began["progressId"]
        with pytest.raises(Refused) as refused:
            client.response(search)
        assert refused.value.message == "cancelled"
        if cancel == "continue":
            assert client.stop()["description"] == "generation finished"
        else:
            assert client.place() == "step 449 (end of the generation)", "the stop is as it was"


def test_a_long_move_shows_progress_and_stops_where_it_is_when_it_is_cancelled(run: Run) -> None:
    longer = {"max_new_tokens": 4000, "min_new_tokens": 4000}
    client = run(prompt=PROMPT, generation=longer, stopOnEntry=True)
    client.stop()
    client.ask("llm/runToStep", step=3999)
    began = client.event("progressStart", "stopped")
    assert began["title"] == "Going to step 3999"
    client.ask("cancel", progressId=began["progressId"])
    assert client.event("progressEnd", "stopped")["progressId"] == began["progressId"]
    assert client.stop()["reason"] == "pause"
    assert to(client, 3)["text"] == "step 3"


def test_hooks_of_the_user_are_named_once(run: Run) -> None:
    client = sampled(run)
    client.evaluate("handle = model.get_submodule('model.layers.1').register_forward_hook(lambda *_: None)")
    try:
        to(client, 2, "model.layers.3")
        client.move("stepBack")
        client.move("stepBack")
    finally:
        client.evaluate("handle.remove()")
    warning = "hooks that are not of the debugger run again in every replay, on model.layers.1\n"
    assert client.output("console") == warning, "once"


def test_a_run_that_does_not_repeat_itself_says_so(run: Run) -> None:
    client = sampled(run)
    to(client, 4)
    client.evaluate("weight = model.lm_head.weight.detach()")
    client.evaluate("saved = weight.clone()")
    to(client, 1, "model.layers.0")
    try:
        client.evaluate("weight.neg_()")
        assert to(client, 3)["text"] == "step 3"
        assert to(client, 2)["text"] == "step 2"
    finally:
        client.evaluate("weight.copy_(saved)")
    warning = "step 1 chose another token when it ran again: this run does not repeat itself\n"
    assert client.output("console") == warning, "once"
    assert names(client.frames())[-3].startswith("step 1  "), "it goes on from there"
