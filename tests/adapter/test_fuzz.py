"""Whatever a client sends: it is answered, or the connection is closed. Nothing hangs, and no process stays."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dap_server.adapter.requests import requests as handled
from dap_server.protocol.tables import REQUESTS
from tests.adapter.conftest import LAUNCH, LONG, StartAdapter, adapters
from tests.adapter.peer import Adapter, Json, error_of, framed
from tests.protocol.examples import example
from tests.schema import Schema, own_part, validate

Fake = Callable[[str], Json]
LAST = ("restart", "terminate", "disconnect")
"""Requests that change what the others find."""

# Bytes

INITIALIZE = json.dumps(
    {"seq": 1, "type": "request", "command": "initialize", "arguments": {"adapterID": "x"}}
).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Length: 100\r\n\r\n{",
        b"Content-Length: 10",
        b"Content-Length: -1\r\n\r\n{}",
        b"Content-Length: 1e3\r\n\r\n{}",
        b"Content-Length: 99999999999999999999\r\n\r\n{}",
        b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + bytes(range(256)),
        b'{"seq": 2, "type": "request", "command": "threads"}\r\n\r\n',
        framed(INITIALIZE)[:-5] + framed(INITIALIZE),
    ],
)
def test_bytes_that_are_no_messages_close_the_connection(start_adapter: StartAdapter, data: bytes) -> None:
    adapter = start_adapter()
    adapter.initialize()
    adapter.send_bytes(data)
    adapter.close_input()
    adapter.closed()
    assert adapter.exit_code() == 0


@pytest.mark.parametrize("seed", range(6))
def test_random_bytes_close_the_connection(start_adapter: StartAdapter, seed: int) -> None:
    adapter = start_adapter()
    noise, valid = random.Random(seed), framed(INITIALIZE) * 3
    start = noise.randrange(len(valid))
    adapter.sent[1] += 3
    adapter.send_bytes(valid[:start] + noise.randbytes(noise.randrange(1, 3000)))
    adapter.close_input()
    adapter.closed()
    assert adapter.exit_code() == 0


def test_bodies_that_are_no_messages_are_reported(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.initialize()
    bodies = [
        *(b"", b"nonsense", b"\xff\xfe", b"[]", b"{}", b"null", b"[" * 200_000, b'{"type": "request", "seq": 2}'),
        *(b'{"jsonrpc": "2.0", "id": 1, "method": "x"}', b'{"type": "response", "request_seq": 9, "seq": 1}'),
        b'{"seq": 2, "type": "request", "command": "threads", "arguments": '
        + b'{"a":' * 100_000
        + b"1"
        + b"}" * 100_001,
    ]
    adapter.send_bytes(b"".join(framed(body) for body in bodies))
    assert adapter.get("threads")
    assert len(adapter.events("output")) == len(bodies)


def test_numbers_of_messages_mean_nothing_but_themselves(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.initialize()
    for seq in (7, 7, 2**31 - 1, 3, 7):
        adapter.send("threads", seq=seq)
    for seq in (7, 99, 2**31 - 1):
        answer = {"seq": 1, "type": "response", "request_seq": seq, "success": True, "command": "runInTerminal"}
        adapter.send_bytes(framed(json.dumps(answer).encode()))
    adapter.send_bytes(framed(b'{"seq": 1, "type": "event", "event": "stopped", "body": 5}'))
    adapter.answer(adapter.send("threads", seq=500))
    answered = [message["request_seq"] for message in adapter.messages if message["type"] == "response"]
    assert answered == [1, 7, 7, 2**31 - 1, 3, 7, 500]


# Types


def arguments_schema(command: str) -> Schema:
    schema: Schema = own_part(f"{command[0].upper()}{command[1:]}Request")["properties"].get("arguments", {})
    return schema


def minimal(command: str) -> Any:
    schema = arguments_schema(command)
    return example(schema, "minimal") if schema else None


def is_valid(command: str, arguments: Any) -> bool:
    try:
        validate({"seq": 1, "type": "request", "command": command, "arguments": arguments})
    except AssertionError:
        return False
    return True


def wrong_arguments(command: str) -> Iterator[tuple[str, Any]]:
    """Arguments with one value of a wrong type, for every value in them, and where it is."""
    schema = arguments_schema(command)
    if not schema:
        return
    right = example(schema, "highest")
    values: list[Any] = [True, -1, 1.5, 2**60, "text", "", [], {}, [[]], {"a": {}}]
    for path in paths(right):
        for value in values:
            wrong = replaced(right, path, value)
            if not is_valid(command, wrong):
                yield ".".join(map(str, path)), wrong


def paths(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if len(at) < 5:
            yield from paths(item, (*at, key))


def replaced(value: Any, path: tuple[str | int, ...], by: Any) -> Any:
    if not path:
        return by
    value = copy.deepcopy(value)
    at = value
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = by
    return value


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory, fake: Fake) -> Iterator[Adapter]:
    """An adapter at a stop: nothing but the types of the arguments can be wrong."""
    with adapters(tmp_path_factory.mktemp("typed")) as start:
        adapter = start()
        adapter.start(fake(""))
        adapter.stop()
        yield adapter


@pytest.mark.parametrize("command", REQUESTS)
def test_a_wrong_type_in_any_field_is_refused_with_its_path(typed: Adapter, command: str) -> None:
    cases = list(wrong_arguments(command))
    asked = [typed.send(command, arguments) for _, arguments in cases]
    for seq in asked:
        text = error_of(typed.answer(seq))
        if command in ("launch", "attach"):
            assert "has begun already" in text
        else:
            assert "`$" in text if command in handled.handlers else "unknown request" in text
    assert typed.get("threads")


def test_a_wrong_type_in_any_launch_option_is_refused_with_its_path(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.initialize()
    texts = ["model", "prompt", "revision", "device", "python", "cwd", "attnImplementation"]
    wrong: dict[str, list[Any]] = {
        **{name: [5, [], {}] for name in texts},
        **{name: ["yes", 1, []] for name in ("stopOnEntry", "stopAtEnd", "noDebug", "trustRemoteCode")},
        **{name: ["x", 5, []] for name in ("dtype", "console", "generation")},
        **{name: ["x", [5], {}] for name in ("prompts", "messages")},
        "seed": ["x", 1.5, []],
        "env": ["x", [], {"A": 5}],
        "deviceMap": [5, {"a": []}],
        "token": [5],
    }
    for name, values in wrong.items():
        for value in values:
            text = error_of(adapter.answer(adapter.send("launch", {**LAUNCH, name: value})))
            assert f"$.{name}" in text
            assert not adapter.engines


# Orders


def every_request(adapter: Adapter) -> dict[str, Json]:
    """The answers to a valid request of every command, but the one that ends the session."""
    commands = sorted(REQUESTS, key=lambda command: LAST.index(command) if command in LAST else -1)
    asked = {command: adapter.send(command, minimal(command)) for command in commands if command != "disconnect"}
    return {command: adapter.answer(seq) for command, seq in asked.items()}


def texts(answers: dict[str, Json]) -> dict[str, str]:
    return {command: error_of(answer) for command, answer in answers.items() if not answer["success"]}


def test_before_initialize_everything_else_is_refused(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    asked = {command: adapter.send(command, {}) for command in REQUESTS if command not in ("initialize", "disconnect")}
    for command, seq in asked.items():
        assert error_of(adapter.answer(seq)) == f"'{command}': 'initialize' comes first"
    adapter.initialize()
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_an_adapter_can_be_left_before_anything(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_before_launch_only_what_needs_no_model_is_done(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.initialize()
    refused = texts(every_request(adapter))
    needing = {command for command in refused if command in handled.handlers} - {"initialize", "launch", "attach"}
    assert needing > {"next", "stackTrace", "setFunctionBreakpoints", "configurationDone", "restart"}
    assert all(refused[command] == f"'{command}': 'launch' or 'attach' comes first" for command in needing)
    assert "only once" in refused["initialize"]
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_while_the_model_loads_questions_about_it_are_refused(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.initialize()
    launched = adapter.launch(fake("never connects"))
    refused = texts(every_request(adapter))
    for command in ("continue", "next", "pause", "stackTrace", "scopes", "variables", "evaluate", "completions"):
        assert refused[command] == "the model is not loaded yet", command
    assert adapter.answer(launched)["success"]
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_after_the_end_everything_is_still_answered(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.start(fake("has last words"))
    adapter.end()
    refused = texts(every_request(adapter))
    for command in ("continue", "next", "pause", "stackTrace", "scopes", "variables", "evaluate", "completions"):
        assert "has ended" in refused[command], command
    adapter.get("disconnect")
    assert adapter.exit_code() == 0


def test_what_an_editor_leaves_open_may_come_before_the_model(start_adapter: StartAdapter, fake: Fake) -> None:
    adapter = start_adapter()
    adapter.initialize()
    launched = adapter.send_valid("launch", fake(""))
    adapter.event("initialized")
    for command, arguments in {
        "readMemory": {"memoryReference": "", "count": 16},
        "disassemble": {"memoryReference": "0x1", "instructionCount": 50, "instructionOffset": -200},
        "evaluate": {"expression": "", "context": "watch"},
        "source": {"sourceReference": 0},
    }.items():
        error_of(adapter.ask(command, arguments))
    assert adapter.get("breakpointLocations", {"source": {"path": ""}, "line": 0})["breakpoints"] == []
    nowhere = {"memoryReference": "", "instructionCount": 50, "instructionOffset": -200}
    rows = adapter.get("disassemble", nowhere)["instructions"]
    assert [row["presentationHint"] for row in rows] == ["invalid"] * 50
    (state,) = adapter.get("setInstructionBreakpoints", {"breakpoints": [{"instructionReference": ""}]})["breakpoints"]
    assert not state["verified"]
    adapter.get("configurationDone")
    assert adapter.answer(launched)["success"]
    adapter.stop()


# A real model


@pytest.fixture
def at_layer(shared: Adapter) -> Iterator[Adapter]:
    """Stopped at a layer; afterwards it can still begin again."""
    begin_again(shared)
    yield shared
    begin_again(shared)


def begin_again(adapter: Adapter) -> None:
    adapter.restart(LONG, "*.layers.3")
    while adapter.stop()["reason"] != "function breakpoint":
        pass  # a stop of the run before may be told of just after the answer


@pytest.mark.parametrize("is_running", [False, True], ids=["stopped", "running"])
def test_every_request_is_answered_by_a_model(at_layer: Adapter, is_running: bool) -> None:
    at_layer.set_breakpoints()
    if is_running:
        at_layer.get("continue", {"threadId": 1})
    asked = {command: at_layer.send(command, minimal(command)) for command in REQUESTS if command not in LAST}
    refused = texts({command: at_layer.answer(seq) for command, seq in asked.items()})
    assert "has begun already" in refused["launch"]
    assert not any("internal error" in text for text in refused.values()), refused


@pytest.mark.parametrize("context", ["repl", "watch", "hover", "clipboard", "variables", "anything"])
@pytest.mark.parametrize(
    "expression",
    [
        *("", " ", "\n", "\0", "(", "1 +", "x y", "nothing", "model.", "model..x", "a" * 10_000, "1" * 5_000, "é東🗼"),
        *("(" * 5_000, "-" * 20_000 + "1", "[].x", "{}[1]", "1 / 0", "raise", "raise SystemExit(3)", "exit()"),
        *("__import__('sys').exit(3)", "(_ for _ in ()).throw(KeyboardInterrupt)", "def f(): return f()\nf()"),
        *("type('x', (), {'__repr__': lambda s: 1 / 0})()", "raise ValueError('\\ud800')", "'\\ud800'"),
    ],
    ids=lambda text: repr(text[:25]),
)
def test_any_expression_is_answered(shared: Adapter, expression: str, context: str) -> None:
    answer = shared.ask("evaluate", {"expression": expression, "context": context})
    assert answer["success"] or "internal error" not in error_of(answer), answer
    assert shared.get("threads")


@pytest.mark.parametrize("text", ["", " ", ".", "model.", "model.model.layers[", "\n\n", "é東🗼.", "x" * 10_000])
@pytest.mark.parametrize(("line", "column"), [(None, 0), (None, 1), (1, 3), (0, 0), (99, 99), (2, 2**31 - 1)])
def test_any_text_is_completed(shared: Adapter, text: str, line: int | None, column: int) -> None:
    arguments = {"text": text, "column": column, **({} if line is None else {"line": line})}
    assert isinstance(shared.get("completions", arguments)["targets"], list)


@pytest.mark.parametrize("reference", [0, 1, 999_999, 2**31 - 1])
def test_references_that_nobody_gave_are_refused(at_layer: Adapter, reference: int) -> None:
    assert error_of(at_layer.ask("variables", {"variablesReference": reference}))
    assert error_of(at_layer.ask("scopes", {"frameId": reference}))
    assert error_of(at_layer.ask("evaluate", {"expression": "1", "frameId": reference}))
    assert error_of(at_layer.ask("stepInTargets", {"frameId": reference}))
    assert reference == 1 or error_of(at_layer.ask("stackTrace", {"threadId": reference or -1}))


def test_a_thousand_requests_at_once_are_all_answered(at_layer: Adapter) -> None:
    kinds: list[tuple[str, Json | None]] = [
        *(("threads", None), ("stackTrace", {"threadId": 1}), ("evaluate", {"expression": "1 + 1"})),
        *(("completions", {"text": "mod", "column": 4}), ("stackTrace", {"threadId": 1, "startFrame": 3, "levels": 2})),
    ]
    asked = [at_layer.send(*kinds[i % len(kinds)]) for i in range(1000)]
    assert all(at_layer.answer(seq)["success"] for seq in asked)
    answered = [message["request_seq"] for message in at_layer.messages if message["type"] == "response"]
    assert [seq for seq in answered if seq in set(asked)] == asked, "and in their order"


@pytest.mark.parametrize("seed", range(4))
def test_requests_in_any_order_are_all_answered(at_layer: Adapter, seed: int) -> None:
    choose = random.Random(seed)
    thread = {"threadId": 1}
    for _ in range(4):
        asked = []
        for _ in range(40):
            number = choose.randrange(60)
            command, arguments = choose.choice(
                [
                    *(
                        (command, thread)
                        for command in ("continue", "next", "stepIn", "stepOut", "pause", "stackTrace")
                    ),
                    *(("threads", None), ("configurationDone", None), ("cancel", {"requestId": number + 1})),
                    *(("scopes", {"frameId": number}), ("stepInTargets", {"frameId": number})),
                    ("variables", {"variablesReference": number}),
                    ("stepIn", {"threadId": 1, "targetId": number % 5}),
                    ("evaluate", {"expression": "input_ids", "frameId": number}),
                    ("setFunctionBreakpoints", {"breakpoints": [{"name": choose.choice(["step", "*.mlp", "no"])}]}),
                    ("setBreakpoints", {"source": {"path": "x.py"}, "breakpoints": [{"line": number}]}),
                    ("restart", {"arguments": LONG}),
                ]
            )
            asked.append(at_layer.send_valid(command, arguments))
        for seq in asked:
            answer = at_layer.answer(seq)
            assert answer["success"] or "internal error" not in error_of(answer), answer


def test_a_session_under_load_can_be_left(stopped: Adapter) -> None:
    for _ in range(300):
        stopped.send("evaluate", {"expression": "sum(p.abs().sum() for p in model.parameters())"})
        stopped.send("stackTrace", {"threadId": 1})
    stopped.get("disconnect")
    assert stopped.exit_code() == 0
    assert stopped.engine.has_ended(0)
