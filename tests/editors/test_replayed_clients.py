"""What editors send, as their code sends it: a session of each on the example model, with no editor installed.

Read in the sources of nvim-dap (`lua/dap/session.lua` at 00a255d), of dape 0.24.1 (`dape.el`) and of Helix 25.01
(`helix-dap/src/client.rs`, `helix-view/src/handlers/dap.rs`). `test_emacs.py` and `test_helix.py` drive the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.conftest import closing
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient

PROMPT = "The capital of France is"
COUNT = 4


@dataclass
class Client:
    """How the messages of one client differ from those of others."""

    initialize: Json
    launch: Json
    first: int = 1
    """The number of its first message."""
    nothing: Json = field(default_factory=dict)
    """What stands in a request without arguments."""
    stack: Json = field(default_factory=dict)
    """Which page of the stack it asks for."""
    opens_expensive_scopes: bool = False
    end: tuple[str, Json] = ("disconnect", {})


NUMBERED_FROM_1 = {"pathFormat": "path", "linesStartAt1": True, "columnsStartAt1": True}
CLIENTS = {
    # Session:initialize. A request without arguments has none (Session:request). event_stopped asks for a stack without
    # an end, _request_scopes opens every scope that is not expensive, and disconnect says that nothing restarts.
    "neovim": Client(
        initialize={
            "clientID": "neovim",
            "clientName": "neovim",
            "adapterID": "nvim-dap",
            **NUMBERED_FROM_1,
            "supportsRunInTerminalRequest": True,
            "supportsVariableType": True,
            "supportsProgressReporting": True,
            "supportsStartDebuggingRequest": True,
            "locale": "en_US.UTF-8",
        },
        launch={
            "type": "llm-dap",
            "request": "launch",
            "name": "Debug a model",
            "generation": {"max_new_tokens": COUNT},
        },
        stack={"startFrame": 0},
        end=("disconnect", {"restart": False, "terminateDebuggee": True}),
    ),
    # dape--initialize, dape--stack-trace with supportsDelayedStackTraceLoading; dape-inlay-hints-update opens all
    # scopes. The end is `terminate` where there is one (dape-kill), and then SIGKILL (jsonrpc-shutdown).
    "emacs": Client(
        initialize={
            "clientID": "dape",
            "adapterID": "llm-dap",
            **NUMBERED_FROM_1,
            "supportsRunInTerminalRequest": True,
            "supportsArgsCanBeInterpretedByShell": True,
            "supportsProgressReporting": True,
            "supportsStartDebuggingRequest": True,
        },
        launch={"type": "llm-dap", "request": "launch", "generation": {"max_new_tokens": COUNT}},
        stack={"startFrame": 0, "levels": 1},
        opens_expensive_scopes=True,
        end=("terminate", {}),
    ),
    # Client::initialize. request_counter begins at 0, `()` becomes null, stack_trace leaves out the page, dap_variables
    # opens all scopes. Settings know texts, lists of texts and truth values alone (DebugArgumentValue). An event of a
    # name that it does not know ends its reading (Payload, in transport.rs).
    "helix": Client(
        initialize={
            "clientID": "hx",
            "clientName": "helix",
            "adapterID": "llm-dap",
            "locale": "en-us",
            **NUMBERED_FROM_1,
            "supportsVariableType": True,
            "supportsVariablePaging": False,
            "supportsRunInTerminalRequest": True,
            "supportsMemoryReferences": False,
            "supportsProgressReporting": False,
            "supportsInvalidatedEvent": False,
        },
        launch={"cwd": str(Path.cwd()), "generation": f'{{"max_new_tokens": {COUNT}}}'},
        first=0,
        nothing={"arguments": None},
        opens_expensive_scopes=True,
        end=("disconnect", {"restart": False}),
    ),
}


@pytest.fixture(params=CLIENTS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def connection(name: str) -> Iterator[RawClient]:
    with closing(RawClient.spawn(first=CLIENTS[name].first)) as connection:
        yield connection


def test_a_session_as_the_editor_plays_it(name: str, connection: RawClient, example_model: Path, plain: Plain) -> None:
    client = CLIENTS[name]
    connection.ask("initialize", **client.initialize)
    configuration = {**client.launch, "model": str(example_model), "prompt": PROMPT, "stopOnEntry": True}
    launched = connection.send("launch", **configuration)
    connection.event("initialized")
    connection.response(connection.send_unchecked("configurationDone", client.nothing))
    connection.response(launched)

    stopped = connection.stop()
    assert stopped["reason"] == "entry"
    threads = connection.response(connection.send_unchecked("threads", client.nothing))["threads"]
    frames = connection.ask("stackTrace", threadId=threads[0]["id"], **client.stack)["stackFrames"]
    assert frames[0]["name"] == "step 0 (prefill)"
    for scope in connection.ask("scopes", frameId=frames[0]["id"])["scopes"]:
        if client.opens_expensive_scopes or not scope["expensive"]:
            assert connection.ask("variables", variablesReference=scope["variablesReference"])["variables"]

    connection.ask("next", threadId=1, **({"granularity": "statement"} if name == "neovim" else {}))
    assert connection.stop()["reason"] == "step"
    connection.ask("continue", threadId=1)
    assert connection.stop()["description"] == "generation finished"
    assert connection.output() == plain.texts(PROMPT, max_new_tokens=COUNT)[0] + "\n"
    command, arguments = client.end
    connection.ask(command, **arguments)
    if command == "terminate":
        connection.end()
    check_events(connection.messages, client.initialize)


def check_events(messages: list[Json], initialize: Json) -> None:
    """There is none that this client has not asked for, or does not survive."""
    events = {message["event"] for message in messages if message["type"] == "event"}
    progress = {event for event in events if event.startswith("progress")}
    own = {event for event in events if event.startswith("llm/")}
    assert bool(progress) == initialize["supportsProgressReporting"]
    assert bool(own) == (initialize["clientID"] != "hx")
