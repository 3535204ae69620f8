"""The operations of a model as instructions, over the wire: listed, stepped through, stopped at, forth and back."""

from __future__ import annotations

import linecache
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from tests.e2e.conftest import Run, Spawn
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, names, values
from tests.engine.execution.recorded import Recorded, recorded

PROMPT = "The capital of France is"
ATTENTION = "model.layers.2.self_attn"
OPTIONS = {"max_new_tokens": 4}
INSTRUCTION = {"granularity": "instruction"}


def begin(run: Run, *breakpoints: str, **configuration: Any) -> RawClient:
    client = run(*breakpoints, prompt=PROMPT, generation=OPTIONS, **configuration)
    client.stop()
    return client


@pytest.fixture
def operations(run: Run) -> RawClient:
    """Stopped before an attention module of step 0."""
    return begin(run, ATTENTION)


def record(plain: Plain, path: str) -> list[list[Recorded]]:
    """The operations of a module in every step of the same run without the debugger."""
    with recorded(plain.model.get_submodule(path) if path else plain.model) as calls:
        plain.generate(PROMPT, **OPTIONS)
    return calls


def listing(client: RawClient, offset: int = -200, count: int = 400, at: str | None = None) -> list[Json]:
    at = at or client.frames(levels=1)[0]["instructionPointerReference"]
    body = client.ask("disassemble", memoryReference=at, instructionOffset=offset, instructionCount=count)
    rows: list[Json] = body["instructions"]
    assert len(rows) == count
    addresses = [int(row["address"], 0) for row in rows]
    assert addresses == sorted(set(addresses))
    assert 0 <= addresses[0] <= addresses[-1] < 2**53
    return rows


def everything(client: RawClient) -> list[Json]:
    return [row for row in listing(client, 0, 3000, "1") if row["presentationHint"] == "normal"]


def elements(client: RawClient, tensor: Json) -> list[float]:
    """The first row of a tensor, down to its numbers, as it is shown."""
    while True:
        shown = client.open(tensor, filter="indexed", start=0, count=50)
        first = next(iter(shown.values()))
        if not first.get("variablesReference"):
            return [float(np.float32(row["value"])) for row in shown.values()]
        tensor = first


def first_row(tensor: Tensor) -> list[float]:
    while tensor.dim() > 1:
        tensor = tensor[0]
    return [float(np.float32(value)) for value in tensor[:50].tolist()]


def test_the_listing_holds_every_operation_of_the_step(operations: RawClient, plain: Plain) -> None:
    rows = everything(operations)
    expected = record(plain, "")[0]
    listed = [row["instruction"].partition("  ")[0] for row in rows if "::" in row["instruction"]]
    assert listed == [operation.name for operation in expected]
    for row, operation in zip([row for row in rows if "::" in row["instruction"]], expected, strict=True):
        for tensor in [*operation.given[:1], *operation.gave[:1]]:
            assert f"[{','.join(map(str, tensor.shape))}]" in row["instruction"]


def test_it_opens_as_an_editor_asks_for_it(operations: RawClient) -> None:
    top, forward = operations.frames(levels=2)
    assert top["instructionPointerReference"] == forward["instructionPointerReference"]
    rows = listing(operations)
    here = rows[200]
    assert here["address"] == top["instructionPointerReference"]
    assert (here["symbol"], here["instruction"]) == (ATTENTION, "enter LlamaAttention")
    assert rows[0]["location"]["path"].endswith(".py")
    assert rows[0]["line"] > 0
    again = listing(operations, -5, 20)
    for first, second in zip(again, rows[195:215], strict=True):
        assert [first[k] for k in ("address", "instruction", "symbol")] == [
            second[k] for k in ("address", "instruction", "symbol")
        ]
    file, line = "", 0
    for row in rows[200:240]:
        file, line = row.get("location", {}).get("path", file), row.get("line", line)
        if row["symbol"] == f"{ATTENTION}.k_proj" and "::" in row["instruction"]:
            assert "self.k_proj(hidden_states)" in linecache.getline(file, line)
    caller = next(frame for frame in operations.frames() if frame["name"] == "model.layers.2")
    assert caller["instructionPointerReference"] == top["instructionPointerReference"], "it stands at the call"


def test_beyond_its_ends_the_listing_is_invalid(operations: RawClient) -> None:
    first = everything(operations)[0]["address"]
    rows = listing(operations, -50, 60, first)
    assert [row["presentationHint"] for row in rows] == ["invalid"] * 50 + ["normal"] * 10
    rows = listing(operations, 0, 40, hex(2**52))
    assert {row["presentationHint"] for row in rows} == {"invalid"}
    step = next(frame for frame in operations.frames() if frame["name"].startswith("step"))
    assert "instructionPointerReference" not in step
    with pytest.raises(Refused, match="'somewhere' is no address"):
        operations.ask("disassemble", memoryReference="somewhere", instructionCount=3)


def test_a_whole_attention_module_is_stepped_through(operations: RawClient, plain: Plain) -> None:
    expected = record(plain, ATTENTION)[0]
    rows = {row["address"]: row["instruction"] for row in everything(operations)}
    client, result = operations, None
    for i, operation in enumerate(expected):
        stopped = client.move("next" if i % 2 else "stepIn", **INSTRUCTION)
        assert stopped["reason"] == "step"
        top = client.frames(levels=1)[0]
        assert top["name"] == operation.name
        assert rows[top["instructionPointerReference"]].startswith(f"{operation.name}  ")
        scopes = client.scopes(top)
        if result is not None:
            returned = client.open(scopes["Returned"])
            assert list(returned) == [expected[i - 1].name]
            if result.numel() and result.dim():
                assert elements(client, returned[expected[i - 1].name]) == first_row(result)
        operands = client.open(scopes["Operands"])
        tensors = [row for row in operands.values() if row.get("type") in ("Tensor", "Parameter")]
        for row, given in zip(tensors, operation.given, strict=False):
            if given.numel() and given.dim():
                assert elements(client, row) == first_row(given), f"{operation.name} {row['name']}"
        assert "Result" not in scopes
        result = operation.gave[0]
    client.move("next", **INSTRUCTION)
    assert names(client.frames(levels=2)) == ["aten::add.Tensor", "model.layers.2"]
    client.break_at()
    client.move("continue")
    assert client.output() == plain.texts(PROMPT, **OPTIONS)[0] + "\n"


def test_an_operation_is_left_by_module_without_granularity(operations: RawClient) -> None:
    client = operations
    client.move("stepIn", **INSTRUCTION)
    assert names(client.frames(levels=3)) == ["aten::t", f"{ATTENTION}.q_proj", "Linear.forward"]
    assert client.move("stepOut")["text"] == f"after {ATTENTION}.q_proj in step 0"
    assert client.move("stepIn", **INSTRUCTION)["text"] == f"before aten::view of {ATTENTION} in step 0"
    assert client.move("next")["text"] == f"before {ATTENTION}.k_proj in step 0"
    assert client.move("stepOut", **INSTRUCTION)["text"] == f"before aten::view of {ATTENTION} in step 0"
    assert client.move("stepBack")["text"] == f"before {ATTENTION}.k_proj in step 0"


def test_back_by_instruction_goes_the_same_way(operations: RawClient) -> None:
    client = operations
    forth = []
    for _ in range(12):
        client.move("next", **INSTRUCTION)
        top = client.frames(levels=1)[0]
        forth.append((top["name"], top["instructionPointerReference"], values(client.scope("Operands", top))))
    for expected in forth[-2::-1]:
        assert client.move("stepBack", **INSTRUCTION)["reason"] == "step"
        top = client.frames(levels=1)[0]
        shown = (top["name"], top["instructionPointerReference"], values(client.scope("Operands", top)))
        assert shown == expected
    norm = "model.layers.2.input_layernorm"
    assert client.move("stepBack", **INSTRUCTION)["text"] == f"before aten::mul.Tensor of {norm} in step 0"
    top = client.frames(levels=1)[0]
    client.ask("restartFrame", frameId=top["id"])
    assert client.stop()["text"] == f"before {norm} in step 0"


def test_the_first_operation_is_among_the_targets_behind_the_submodules(operations: RawClient) -> None:
    client = operations
    targets = client.ask("stepInTargets", frameId=client.frames(levels=1)[0]["id"])["targets"]
    assert [target["label"].partition(" · ")[0] for target in targets] == [
        *(f"{ATTENTION}.{name}_proj" for name in "qkvo"),
        "first operation",
        "forward (Python)",
    ]
    assert [target["id"] for target in targets] == [1, 2, 3, 4, 5, 6]
    assert client.move("stepIn", targetId=5)["text"] == f"before aten::t of {ATTENTION}.q_proj in step 0"
    top = client.frames(levels=1)[0]
    assert client.ask("stepInTargets", frameId=top["id"])["targets"] == []
    client.move("stepOut")
    with pytest.raises(Refused, match="ask for stepInTargets again"):
        client.ask("stepIn", threadId=1, targetId=1)


def test_a_function_breakpoint_stops_at_an_operation(run: Run, plain: Plain) -> None:
    client = begin(run, "*.layers.[24].mlp/aten::silu")
    stops = [client.frames(levels=2)]
    text = ["before aten::silu of model.layers.2.mlp.act_fn in step 0"]
    for _ in range(3):
        stopped = client.move("continue")
        assert stopped["reason"] == "function breakpoint"
        assert len(stopped["hitBreakpointIds"]) == 1
        text.append(stopped["text"])
        stops.append(client.frames(levels=2))
    assert text[1:] == [
        "before aten::silu of model.layers.4.mlp.act_fn in step 0",
        "before aten::silu of model.layers.2.mlp.act_fn in step 1",
        "before aten::silu of model.layers.4.mlp.act_fn in step 1",
    ]
    assert [names(frames)[0] for frames in stops] == ["aten::silu"] * 4
    expected = record(plain, "model.layers.4.mlp.act_fn")[1][0]
    assert elements(client, client.scope("Operands")["self"]) == first_row(expected.given[0])
    assert client.evaluate("self.shape") == f"torch.Size({list(expected.given[0].shape)})"
    client.break_at("after:*.layers.4.mlp/aten::silu")
    assert client.move("continue")["text"] == "after aten::silu of model.layers.4.mlp.act_fn in step 1"
    assert client.place() == "aten::silu (after)"
    assert elements(client, client.scope("Result")["result"]) == first_row(expected.gave[0])
    client.break_at("*.layers.[24].mlp/aten::silu", "*.layers.3")
    back = [client.move("reverseContinue")["text"] for _ in range(5)]
    assert back == [text[3], "before model.layers.3 in step 1", text[2], text[1], "before model.layers.3 in step 0"]
    client.break_at()
    client.move("continue")
    assert client.output() == plain.texts(PROMPT, **OPTIONS)[0] + "\n"


def test_names_of_operations_are_checked(operations: RawClient) -> None:
    unknown, nowhere, malformed, softmax, never = operations.break_at(
        "aten::sofmax", "decoder/aten::silu", "*.mlp/", "aten::softmax", "aten::erfinv"
    )
    assert (unknown["verified"], nowhere["verified"], malformed["verified"]) == (False, False, False)
    assert "did you mean 'aten::softmax'" in unknown["message"]
    assert "matches 'decoder'" in nowhere["message"]
    assert "no operation" in malformed["message"]
    assert (softmax["verified"], never["verified"]) == (True, True)
    assert "attnImplementation 'eager'" in softmax["message"]
    assert operations.move("continue")["description"] == "generation finished", "SDPA has no softmax"


def test_addresses_are_breakpoints_in_another_session(run: Run, spawn: Spawn, example_model: Any, plain: Plain) -> None:
    client = begin(run, ATTENTION)
    rows = everything(client)
    mm = next(r for r in rows if r["symbol"] == f"{ATTENTION}.v_proj" and r["instruction"].startswith("aten::mm"))
    leave = next(r for r in rows if r["symbol"] == ATTENTION and r["instruction"].startswith("leave"))

    other = spawn()
    launch = other.begin(
        instructions=[
            {"instructionReference": hex(int(mm["address"], 0) - 2), "offset": 2},
            {"instructionReference": leave["address"]},
            {"instructionReference": "0x7ffffffffffff"},
            {"instructionReference": "main"},
        ],
        model=str(example_model),
        prompt=PROMPT,
        generation=OPTIONS,
    )
    other.response(launch)
    changed = [other.event("breakpoint")["breakpoint"] for _ in range(4)]
    assert [state["verified"] for state in changed] == [True, True, False, False]
    assert "no module of this model" in changed[2]["message"]
    expected = record(plain, f"{ATTENTION}.v_proj")
    for step in range(2):
        stopped = other.stop()
        assert stopped["reason"] == "instruction breakpoint"
        assert stopped["hitBreakpointIds"] == [changed[0]["id"]]
        assert stopped["text"] == f"before aten::mm of {ATTENTION}.v_proj in step {step}"
        assert other.frames(levels=1)[0]["instructionPointerReference"] == mm["address"]
        given = next(o for o in expected[step] if o.name == "aten::mm").given[0]
        assert elements(other, other.scope("Operands")["self"]) == first_row(given)
        if step == 0:
            known = {row["address"]: row["instruction"] for row in rows}
            assert {row["address"]: row["instruction"] for row in everything(other)} == known
        assert other.move("continue")["text"] == f"after {ATTENTION} in step {step}"
        other.ask("continue", threadId=1)
    other.stop()
    other.restart(model=str(example_model), prompt=PROMPT, generation=OPTIONS)
    assert other.stop()["text"] == f"before aten::mm of {ATTENTION}.v_proj in step 0", "they are kept over a restart"
    answer = other.ask("setInstructionBreakpoints", breakpoints=[])
    assert answer["breakpoints"] == []
    other.move("continue")
    assert other.output() == plain.texts(PROMPT, **OPTIONS)[0] + "\n"


def test_a_view_that_was_left_open_gets_nothing_before_there_is_a_model(spawn: Spawn, example_model: Any) -> None:
    client = spawn()
    launch = client.begin(model=str(example_model), prompt="one", stopOnEntry=True)
    for flag in ("supportsDisassembleRequest", "supportsInstructionBreakpoints", "supportsSteppingGranularity"):
        assert client.capabilities[flag] is True
    body = client.ask("disassemble", memoryReference="", instructionOffset=-200, instructionCount=400)
    assert [row["presentationHint"] for row in body["instructions"]] == ["invalid"] * 400
    client.response(launch)
    client.stop()


def test_every_scope_is_the_same_inside_an_operation(run: Run) -> None:
    client = begin(run, "*.layers.1")

    def seen() -> dict[str, dict[str, str]]:
        frames = {frame["name"].removesuffix(" (before)"): frame for frame in client.frames()}
        found: dict[str, dict[str, str]] = {}
        for name in ("model.layers.1", "step 0 (prefill)", "model.layers.0 (done)"):
            scopes = client.scopes(frames[name])
            found |= {f"{name}: {scope}": values(client.open(row)) for scope, row in scopes.items()}
        for shown in found.values():
            shown.pop("as of", None)  # the place itself
        return found

    before = seen()
    assert {"model.layers.1: Attention", "model.layers.1: Gradients", "step 0 (prefill): Lens"} <= before.keys()
    client.move("stepIn", **INSTRUCTION)
    assert client.place() == "aten::pow.Tensor_Scalar"
    assert seen() == before


def test_beam_search_is_stepped_by_operation_and_back(run: Run, plain: Plain) -> None:
    options = {"max_new_tokens": 3, "num_beams": 2}
    expected = plain.texts(PROMPT, **options)[0]
    client = run("*.layers.3.mlp/aten::silu", prompt=PROMPT, generation=options)
    client.stop()
    client.move("continue")
    assert client.move("continue")["text"] == "before aten::silu of model.layers.3.mlp.act_fn in step 2"
    here = values(client.scope("Operands"))
    assert client.move("next", **INSTRUCTION)["text"] == "before aten::t of model.layers.3.mlp.up_proj in step 2"
    assert client.move("stepBack", **INSTRUCTION)["text"] == "before aten::silu of model.layers.3.mlp.act_fn in step 2"
    assert values(client.scope("Operands")) == here
    assert client.move("reverseContinue")["text"] == "before aten::silu of model.layers.3.mlp.act_fn in step 1"
    assert len([row for row in everything(client) if "::" in row["instruction"]]) > 200
    client.break_at()
    client.move("continue")
    assert client.output() == expected + "\n"


def test_a_pause_and_a_restart_end_stepping_by_operation(operations: RawClient, example_model: Any) -> None:
    client = operations
    client.move("next", **INSTRUCTION)
    client.restart(["step"], model=str(example_model), prompt=PROMPT, generation=OPTIONS)
    assert client.stop()["text"] == "step 0"
    assert client.move("next", **INSTRUCTION)["text"] == "before aten::embedding of model.embed_tokens in step 0"
    assert client.move("stepBack", **INSTRUCTION)["text"] == "step 0"
    with pytest.raises(Refused, match="nothing lies before it"):
        client.ask("stepBack", threadId=1, **INSTRUCTION)
    client.move("continue")
    assert client.move("stepBack", **INSTRUCTION)["text"] == "before aten::_unsafe_view of lm_head in step 0"
    assert client.move("next", **INSTRUCTION)["text"] == "before logits in step 0"
    client.move("continue")
    assert client.place() == "step 1"


def test_an_instruction_breakpoint_has_a_condition_over_what_the_operation_gave(run: Run, plain: Plain) -> None:
    client = begin(run, ATTENTION)
    path = f"{ATTENTION}.o_proj"
    address = next(r["address"] for r in everything(client) if r["symbol"] == path and "aten::mm" in r["instruction"])
    peaks = [float(next(o for o in step if o.name == "aten::mm").gave[0].abs().max()) for step in record(plain, path)]
    limit = sorted(peaks[1:])[-2]
    client.break_at()
    wanted = {"instructionReference": address, "condition": f"step > 0 and output.abs().max() >= {limit * 0.9999}"}
    (placed,) = client.ask("setInstructionBreakpoints", breakpoints=[wanted])["breakpoints"]
    assert placed["verified"], placed
    for step in (i for i, peak in enumerate(peaks) if i and peak >= limit):
        stopped = client.move("continue")
        assert (stopped["reason"], stopped["text"]) == (
            "instruction breakpoint",
            f"after aten::mm of {path} in step {step}",
        )
        assert stopped["hitBreakpointIds"] == [placed["id"]]
    client.ask("setInstructionBreakpoints", breakpoints=[{**wanted, "condition": "norm > 0", "hitCondition": "1"}])


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"condition": "output.max() >"}, "(column"),
        ({"condition": "step == 1 and outptu.max() > 3"}, "did you mean 'output'? (column 15)"),
        ({"condition": "norm > 3 and token == 4"}, "`token` is not known at an operation"),
        ({"condition": "output.max() > 3", "mode": "before"}, "`output` is known after the module only"),
        ({"hitCondition": "often"}, "of the hit condition)"),
    ],
)
def test_the_condition_of_an_instruction_breakpoint_is_checked(operations: RawClient, texts: Json, says: str) -> None:
    row = next(row for row in everything(operations) if row["instruction"].startswith("aten::mm"))
    wanted = {"instructionReference": row["address"], **texts}
    (placed,) = operations.ask("setInstructionBreakpoints", breakpoints=[wanted])["breakpoints"]
    assert not placed["verified"]
    assert says in placed["message"]
    assert "column" in placed["message"]
