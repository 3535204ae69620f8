"""What `break` understands, and what Tab offers behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from dap_server.modelmap.text import read_map
from dap_server.terminal.breakpoints import Typed, read
from dap_server.terminal.completion import DebuggerCompleter
from dap_server.terminal.errors import CommandError
from tests.terminal.stage import Stage

MAP = """\
# llm-dap map 1
# class: Llama

step
.                     Llama         (B, T) → (B, T, 9)
  model.layers        ModuleList    a list of 2, which is not called itself
  model.layers.0      LlamaLayer    (B, T, 3) → (B, T, 3)
  model.layers.1      LlamaLayer    (B, T, 3) → (B, T, 3)
sample
"""


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("sample", Typed("sample")),
        ("*.layers.[0-3].mlp", Typed("*.layers.[0-3].mlp")),
        ("sample if prob < 0.1", Typed("sample", "prob < 0.1")),
        ("step hits % 10", Typed("step", None, "% 10")),
        ("a.b if norm > 3 hits >= 2 log {norm} if it hits", Typed("a.b", "norm > 3", ">= 2", "{norm} if it hits")),
        ("a.b hits 2 if norm > 3", Typed("a.b", "norm > 3", "2")),
        ("a.b if math. log (prob) > 1", Typed("a.b", "math. log (prob) > 1")),
        ("a.b if text == ' log ' or [1 for hits in ()]", Typed("a.b", "text == ' log ' or [1 for hits in ()]")),
        ("a.b if 1 if layer else 2", Typed("a.b", "1 if layer else 2")),
        ("a.b log log if hits", Typed("a.b", None, None, "log if hits")),
        ("value a.b[0, 3] if change > 0.1", Typed("value a.b[0, 3]", "change > 0.1")),
        ("value probability:' if' if value > 0.5 hits 2", Typed("value probability:' if'", "value > 0.5", "2")),
        ("a.b  if  text == 'a  b'  ", Typed("a.b", "text == 'a  b'")),
    ],
)
def test_a_line_has_a_name_a_condition_a_hit_condition_and_a_message(text: str, typed: Typed) -> None:
    assert read(text) == typed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("if step > 3", "a name is missing"),
        ("sample if", "behind 'if' stands a condition"),
        ("sample hits log x", "behind 'hits' stands a number"),
        ("sample log ", "behind 'log' stands a message"),
    ],
)
def test_what_is_missing_is_said(text: str, says: str) -> None:
    with pytest.raises(CommandError, match=says):
        read(text)


@pytest.fixture
def stage(stage: Stage, tmp_path: Path) -> Stage:
    """With a map in use, and an adapter that can do everything."""
    file = tmp_path / "tiny.llmmap"
    file.write_text(MAP, encoding="utf-8")
    promised = ("supportsConditionalBreakpoints", "supportsHitConditionalBreakpoints", "supportsLogPoints")
    more = ("supportsFunctionBreakpoints", "supportsLoadedSourcesRequest", "supportsDataBreakpoints")
    stage.fake.on("initialize", lambda _: dict.fromkeys([*promised, *more], True))
    stage.fake.on("loadedSources", lambda _: {"sources": [{"path": "/x.py"}, {"name": "tiny", "path": str(file)}]})
    stage.fake.on("setBreakpoints", lambda args: _placed(args, first=20))
    stage.fake.on("setDataBreakpoints", lambda args: _placed(args, first=40))
    stage.fake.on("dataBreakpointInfo", _info)
    stage.start()
    return stage


def _info(args: dict[str, Any]) -> dict[str, Any]:
    """Only what begins with `a` can be watched."""
    if not args["name"].startswith("a"):
        return {"dataId": None, "description": f"no '{args['name']}' here"}
    return {"dataId": f"parameter:{args['name']}", "description": "", "accessTypes": ["write"], "canPersist": True}


def _placed(args: dict[str, Any], first: int) -> dict[str, Any]:
    return {"breakpoints": [{"verified": True, "id": first + i} for i, _ in enumerate(args["breakpoints"])]}


def test_conditions_are_sent_and_listed(stage: Stage) -> None:
    assert stage.play("b sample if prob < 0.1 hits >= 2") == ["2  sample if prob < 0.1 hits >= 2"]
    (_, sent) = stage.fake.arguments_of("setFunctionBreakpoints")["breakpoints"]
    assert sent == {"name": "sample", "condition": "prob < 0.1", "hitCondition": ">= 2"}
    assert stage.play("b sample", "bl") == ["2  sample", "1  *.layers.3", "2  sample"]


def test_values_are_watched(stage: Stage) -> None:
    line = "value parameter:a.b[0, 3] if change > 0.1 hits 2"
    assert stage.play("b value a.b[0, 3] if change > 0.1 hits 2") == [f"2  {line}"]
    sent = {"dataId": "parameter:a.b[0, 3]", "accessType": "write", "condition": "change > 0.1", "hitCondition": "2"}
    assert stage.fake.arguments_of("setDataBreakpoints")["breakpoints"] == [sent]
    assert stage.play("b value a.b[0, 3]", "bl") == [
        "2  value parameter:a.b[0, 3]", "1  *.layers.3", "2  value parameter:a.b[0, 3]"
    ]  # fmt: skip
    assert stage.play("b value x") == ["error: no 'x' here"]
    assert "the names" not in stage.play("b value a if norm > 3")[0]
    assert "leave 'log' away" in stage.play("b value a log {value}")[0]
    stage.play("delete 2")
    assert stage.fake.arguments_of("setDataBreakpoints")["breakpoints"] == []


@pytest.mark.parametrize(
    ("line", "sent", "listed"),
    [
        ("b :7", {"line": 7}, ["2  :7 (model.layers.0)"]),
        ("b after::7", {"line": 7, "column": len(MAP.splitlines()[6]) + 1}, ["2  after::7 (model.layers.0)"]),
        ("b before::7", {"line": 7, "column": 3}, ["2  before::7 (model.layers.0)"]),
        (
            "b :9 if prob < 0.1 hits 3 log {text!r}",
            {"line": 9, "condition": "prob < 0.1", "hitCondition": "3", "logMessage": "{text!r}"},
            ["2  :9 (sample) if prob < 0.1 hits 3 log {text!r}"],
        ),
        ("b sample log {text!r}", {"line": 9, "logMessage": "{text!r}"}, ["2  sample log {text!r}"]),
    ],
)
def test_lines_of_the_map_in_use_have_breakpoints(
    stage: Stage, line: str, sent: dict[str, Any], listed: list[str]
) -> None:
    assert stage.play(line) == listed
    arguments = stage.fake.arguments_of("setBreakpoints")
    assert arguments["source"]["path"].endswith("tiny.llmmap")
    assert arguments["breakpoints"] == [sent]


@pytest.mark.parametrize(
    ("name", "lines"), [("*.layers.*", [7, 8]), ("LlamaLayer", [7, 8]), ("model.layers.1", [8]), ("Llama*", [5, 7, 8])]
)
def test_a_message_by_name_stands_on_all_its_lines(stage: Stage, name: str, lines: list[int]) -> None:
    stage.play(f"b {name} log {{norm}}")
    assert [b["line"] for b in stage.fake.arguments_of("setBreakpoints")["breakpoints"]] == lines
    assert stage.play(f"delete {2 + len(lines) - 1}", "delete all")[-1] == "no breakpoints"
    assert stage.fake.arguments_of("setBreakpoints")["breakpoints"] == []


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("b sample if tokn == 3", "did you mean 'token' or 'top'? (column 1)"),
        ("b model.layers.1 if step and token == 3", "`token` is not known at a module"),
        ("b before:a.b if output.max() > 3", "`output` is known after the module only"),
        ("b step hits 5 times", "(column 3 of the hit condition)"),
        ("b sample log {tokn}", "did you mean 'token' or 'top'? (column 2 of the log message)"),
        ("b :7 if tokn", "did you mean 'token'"),
        ("b afer:a.b", "unknown prefix 'afer:': use 'before:' or 'after:'"),
    ],
)
def test_what_is_wrong_is_said_and_sets_nothing(stage: Stage, line: str, says: str) -> None:
    (error,) = stage.play(line)
    assert error.startswith("error: ")
    assert says in error
    assert stage.play("bl") == ["1  *.layers.3"]


def test_a_message_at_an_operation_is_refused(stage: Stage) -> None:
    (error,) = stage.play("b aten::mm log {norm}")
    assert error == "error: a log message needs a line of the map tiny.llmmap, and an operation has no line"
    (error,) = stage.play("b nowhere log {norm}")
    assert error.endswith("no line of it is 'nowhere'")


def test_without_a_map_a_file_is_asked_for(stage: Stage) -> None:
    stage.fake.on("loadedSources", lambda _: {"sources": []})
    assert stage.play("b :7") == ["error: no map is in use here: give its file, break path/to/NAME.llmmap:12"]
    (error,) = stage.play("b after:nowhere.llmmap:3")
    assert "nowhere.llmmap cannot be read" in error


def test_breakpoints_by_name_and_by_line_keep_their_states_apart(stage: Stage) -> None:
    refused = {"verified": False, "id": 30, "message": "`token` is not known at a module", "reason": "failed"}
    stage.fake.on("setBreakpoints", lambda _: {"breakpoints": [refused]})
    stage.play("b :7 if token", "b sample")
    assert stage.play("bl") == [
        "1  *.layers.3",
        "2  :7 (model.layers.0) if token  not set  `token` is not known at a module",
        "3  sample",
    ]


def _offered(stage: Stage, text: str) -> list[str]:
    return [text[: len(text) + c.start_position] + c.text for c in _completions(stage, text)]


def _completions(stage: Stage, text: str) -> list[Any]:
    return list(DebuggerCompleter(stage.debugger).get_completions(Document(text), CompleteEvent()))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("b sample if ent", ["b sample if entropy"]),
        ("b sample if entropy > 3 and pro", ["b sample if entropy > 3 and probs", "b sample if entropy > 3 and prob"]),
        ("b model.layers.3 if ent", []),
        ("b after:model.layers.3 if out", ["b after:model.layers.3 if output"]),
        ("b before:model.layers.3 if out", []),
        ("b sample log the ent", []),
        ("b sample log the {ent", ["b sample log the {entropy"]),
        ("b sample hits st", []),
        ("b :7 if norm > 3 and lay", ["b :7 if norm > 3 and layer"]),
        ("b sample if text == 'ent", []),
    ],
)
def test_names_that_the_place_has_are_offered(stage: Stage, text: str, lines: list[str]) -> None:
    assert _offered(stage, text) == lines


def test_an_offer_says_what_the_name_is(stage: Stage) -> None:
    (offered,) = _completions(stage, "break sample if ent")
    assert "nats" in offered.display_meta_text


def test_the_map_of_these_tests_is_one() -> None:
    assert read_map(MAP).problems == []


def test_a_message_that_is_written_begins_a_line_of_its_own(stage: Stage) -> None:
    def go(_: object) -> None:
        for text, category in ((" Paris", "stdout"), ("norm 3.0\n", "console"), (" is", "stdout")):
            stage.fake.event("output", output=text, category=category)
        stage.stop()

    stage.fake.on("next", go)
    assert stage.play("next")[:3] == ["… Paris", "norm 3.0", "… is"]
