"""A program's Python frames over the wire: before a model, within one, of other threads, and after all is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from tests.e2e.attaching import running
from tests.e2e.raw_client import Json, RawClient, Refused, names, values

PROGRAM = """
    import sys
    import threading

    import torch
    from torch import nn

    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.Linear(4, 4, bias=False)

        def forward(self, x):
            return scaled(self.up(x), by=2.0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = Gate()
            self.head = nn.Linear(4, 2, bias=False)

        def forward(self, x):
            return self.head(self.gate(x))

    def scaled(x, by):
        return x * by  # within a model

    def wait(answer):
        over.wait()

    def load(name):
        try:
            return {}[name]
        except KeyError as error:
            raise ValueError(f"no weights for {name}") from error

    def main():
        rows = list(range(100_000))
        worker = threading.Thread(target=wait, args=(42,), name="worker")
        worker.start()
        print(len(rows))  # before every model
        print("sum", Net()(torch.ones(1, 4)).sum().item())
        over.set()
        load("atlas")

    def tells(kind, error, traceback):
        sys.__excepthook__(kind, error, traceback)

    over = threading.Event()
    sys.excepthook = tells
    main()
"""


@pytest.fixture
def client() -> Iterator[RawClient]:
    client = RawClient.spawn()
    yield client
    client.close()


def test_a_program_is_looked_at_from_its_first_line_to_the_exception_that_ends_it(
    client: RawClient, tmp_path: Path
) -> None:
    path, text = tmp_path / "serve.py", dedent(PROGRAM).lstrip()
    path.write_text(text)
    lines = {
        mark: i for i, line in enumerate(text.splitlines(), 1) for mark in ("before", "within") if f"# {mark}" in line
    }
    _begin(client, path, list(lines.values()))

    assert client.stop()["text"] == f"serve.py:{lines['before']}"
    _before_every_model(client)
    client.ask("continue", threadId=1)

    assert client.stop()["text"] == f"serve.py:{lines['within']}"
    _within_a_model(client)
    client.ask("continue", threadId=1)

    stop = client.stop()
    assert stop["reason"] == "exception"
    assert stop["description"] == "uncaught exception: ValueError: no weights for atlas"
    _post_mortem(client)
    client.ask("continue", threadId=1)
    assert client.end() == 1
    assert "sum 0.0\n" in client.output(), "what was assigned at a stop counts"
    printed = client.output("stderr")
    assert printed.rstrip().endswith("ValueError: no weights for atlas")
    assert "dap_server" not in printed


def _begin(client: RawClient, path: Path, lines: list[int]) -> None:
    client.capabilities = client.ask("initialize", adapterID="llm-dap", pathFormat="path", supportsVariablePaging=True)
    launch = client.send("launch", program=str(path))
    client.event("initialized")
    client.ask("setBreakpoints", source={"path": str(path)}, breakpoints=[{"line": line} for line in lines])
    offered = client.capabilities["exceptionBreakpointFilters"]
    client.ask("setExceptionBreakpoints", filters=[one["filter"] for one in offered if one.get("default")])
    client.ask("configurationDone")
    client.response(launch)


def _before_every_model(client: RawClient) -> None:
    frames = client.frames()
    assert names(frames) == ["main", "<module>"]
    assert all(frame["canRestart"] is False for frame in frames)
    assert list(client.scopes(frames[0])) == ["Locals", "Globals"]
    rows = client.scope("Locals", frames[0])["rows"]
    assert (rows["value"], rows["indexedVariables"]) == ("list of 100000", 100_000)
    assert values(client.open(rows, filter="indexed", start=99_999, count=1)) == {"[99999]": "99999"}
    groups = client.scope("Globals", frames[0])
    assert "scaled" in client.open(groups["function variables"])
    assert client.ask("llm/status")["isOutside"] is True
    with pytest.raises(Refused, match="no model has been called yet"):
        client.ask("llm/branches")
    with pytest.raises(Refused, match="no model has been called yet"):
        client.ask("stepBack", threadId=1)

    threads = {thread["name"]: thread["id"] for thread in client.ask("threads")["threads"]}
    assert threads["MainThread"] == 1
    running = client.frames(threads["worker"])
    assert [(frame["name"], frame.get("presentationHint")) for frame in running[-2:]][1] == ("wait", None)
    assert (running[0]["name"], running[0]["presentationHint"]) == ("running", "label")
    assert values(client.scope("Locals", running[-1])) == {"answer": "42"}
    with pytest.raises(Refused, match="its thread runs"):
        _assign(client, running[-1], "answer", "43")


def _within_a_model(client: RawClient) -> None:
    frames = client.frames()
    shown = [name for name in names(frames) if name != "history"]
    assert shown == [
        "scaled",
        "gate",
        "Gate.forward",
        "Net",
        "Net.forward",
        "step 0 (forward pass)",
        "main",
        "<module>",
    ]
    assert client.scope("Locals", frames[0])["x"]["value"].startswith("float32 [1, 4]")
    assert client.evaluate("x.shape == module.up(torch.ones(1, 4)).shape", frameId=frames[2]["id"]) == "True"
    assert client.evaluate("by", "hover", frameId=frames[0]["id"]) == "2.0"
    assert _assign(client, frames[0], "by", "0.0") == "0.0"
    assert "x" in [
        one["label"] for one in client.ask("completions", text="x", column=2, frameId=frames[0]["id"])["targets"]
    ]
    assert client.ask("llm/status")["model"] == "Net"


def _post_mortem(client: RawClient) -> None:
    told = client.ask("exceptionInfo", threadId=1)
    assert (told["exceptionId"], told["breakMode"]) == ("ValueError", "unhandled")
    assert [one["typeName"] for one in told["details"]["innerException"]] == ["KeyError"]
    assert "direct cause" in told["details"]["stackTrace"]
    frames = client.frames()
    assert names(frames) == ["load", "main", "<module>"]
    assert values(client.scope("Locals", frames[0])) == {"name": "'atlas'"}
    with pytest.raises(Refused, match="its function is over"):
        _assign(client, frames[0], "name", "1")


def _assign(client: RawClient, frame: Json, name: str, value: str) -> str:
    scope = client.scopes(frame)["Locals"]["variablesReference"]
    answer = client.ask("setVariable", variablesReference=scope, name=name, value=value)
    changed: str = answer["value"]
    return changed


LISTENS = """
    import dap_server

    def answer(question):
        return question + "!"

    dap_server.listen(0)
    dap_server.wait_for_client()
    print(answer("yes"), flush=True)
"""


def test_files_of_a_program_elsewhere_are_where_the_editor_has_them(client: RawClient, tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(dedent(LISTENS).lstrip())
    here = "/home/me/work/ask.py"
    with running(str(tmp_path / "ask.py")) as program:
        client.ask("initialize", adapterID="llm-dap", pathFormat="path")
        attached = client.send(
            "attach",
            connect={"port": program.debug_port(), "token": program.token()},
            pathMappings=[{"localRoot": "/home/me/work", "remoteRoot": str(tmp_path)}],
        )
        client.event("initialized")
        client.ask("setBreakpoints", source={"path": here}, breakpoints=[{"line": 4}])
        client.ask("configurationDone")
        client.response(attached)
        thread = client.stop()["threadId"]
        assert [(frame["name"], frame["source"]["path"]) for frame in client.frames(thread)] == [
            ("answer", here),
            ("<module>", here),
        ]
        client.ask("disconnect")
        program.line("yes!")
        assert program.end() == 0
