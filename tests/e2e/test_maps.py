"""The model map in a session: breakpoints on its lines, the stack that points into it, going to its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run, Spawn
from tests.e2e.raw_client import Json, RawClient, Refused, names

RunWith = Callable[..., list[Json]]

PROMPT = "The capital of France is"
OTHER = """\
# llm-dap map 1
# model: another
# class: GPT2LMHeadModel

.  GPT2LMHeadModel
  transformer  GPT2Model
    transformer.h.0  GPT2Block
"""


@pytest.fixture
def made(session: RawClient, run: Run) -> Path:
    """The map that the shared session made for itself."""
    run(prompt=PROMPT, stopOnEntry=True).stop()
    return Path(session.frames(levels=1)[0]["source"]["path"])


@pytest.fixture
def mine(made: Path, tmp_path: Path) -> Path:
    """A copy of it in a folder of the person's."""
    path = tmp_path / "mine.llmmap"
    path.write_bytes(made.read_bytes())
    return path


@pytest.fixture
def run_with(session: RawClient, example_model: Path) -> Iterator[RunWith]:
    """Begins a run with breakpoints on lines of a map, which are gone when the test is over."""
    files: list[Path] = []

    def begin(file: Path, *lines: Json, **configuration: Any) -> list[Json]:
        files.append(file)
        states = set_lines(session, file, *lines)
        session.restart(model=str(example_model), prompt=PROMPT, **configuration)
        return states

    yield begin
    for file in files:
        set_lines(session, file)


def set_lines(client: RawClient, file: Path, *lines: Json) -> list[Json]:
    body = client.ask("setBreakpoints", source={"path": str(file)}, breakpoints=list(lines))
    states: list[Json] = body["breakpoints"]
    return states


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def line_of(file: Path, place: str) -> int:
    return 1 + next(i for i, line in enumerate(lines_of(file)) if line.split()[:1] == [place])


def said_of(client: RawClient, file: Path) -> str:
    """What the debug console was told of a file."""
    outputs = [message["body"] for message in client.messages if message.get("event") == "output"]
    return "".join(b["output"] for b in outputs if b.get("category") == "console" and str(file) in b["output"])


def where(client: RawClient) -> tuple[str, int, int]:
    """File, line and column of the top frame."""
    frame = client.frames(levels=1)[0]
    return frame["source"]["path"], frame["line"], frame["column"]


# --- breakpoints on lines


def test_a_line_set_before_the_model_is_loaded_stops_the_run_on_its_module(
    spawn: Spawn, example_model: Path, mine: Path
) -> None:
    client, line = spawn(), line_of(mine, "model.layers.3.mlp")
    lines = {str(mine): [{"line": line}]}
    launch = client.begin(lines=lines, model=str(example_model), prompt=PROMPT)
    pending = set_lines(client, mine, {"line": line})[0]
    assert (pending["verified"], pending["reason"], pending["line"]) == (False, "pending", line)
    client.response(launch)
    settled = client.event("breakpoint")["breakpoint"]
    assert settled["verified"]
    assert {settled[key] == pending[key] for key in ("id", "line", "column", "source")} == {True}
    stopped = client.stop()
    assert (stopped["reason"], stopped["hitBreakpointIds"]) == ("breakpoint", [pending["id"]])
    assert stopped["text"] == "before model.layers.3.mlp in step 0"
    assert where(client) == (str(mine), line, pending["column"]), "the map with breakpoints is the one that is used"
    progress = [m["body"]["message"] for m in client.messages if m.get("event") == "progressUpdate"]
    assert progress[-2:] == ["making the map", "ready"]


def test_the_two_columns_of_a_line_are_before_and_after(session: RawClient, run_with: RunWith, mine: Path) -> None:
    line = line_of(mine, "model.layers.2")
    body = session.ask("breakpointLocations", source={"path": str(mine)}, line=line)
    first, last = (location["column"] for location in body["breakpoints"])
    states = run_with(mine, {"line": line, "column": first}, {"line": line, "column": last})
    assert [state["verified"] for state in states] == [True, True]
    for state, phase in zip(states, ("before", "after"), strict=True):
        stopped = session.stop()
        assert (stopped["text"], stopped["hitBreakpointIds"]) == (f"{phase} model.layers.2 in step 0", [state["id"]])
        assert where(session)[1:] == (line, state["column"])
        session.ask("continue", threadId=1)


def test_the_lines_of_token_selection_stop_where_they_say(session: RawClient, run_with: RunWith, mine: Path) -> None:
    places = ["step", "logits", "TemperatureLogitsWarper", "sample"]
    wanted = [{"line": line_of(mine, place)} for place in places]
    generation = {"do_sample": True, "temperature": 0.7, "max_new_tokens": 3}
    run_with(mine, *wanted, {"line": line_of(mine, "sample"), "mode": "after"}, generation=generation)
    session.stop()
    for place, phase in [*((place, "before") for place in places), ("sample", "after"), ("step", "before")]:
        path, line, column = where(session)
        text = lines_of(mine)[line - 1]
        assert (path, text.split()[0]) == (str(mine), place)
        assert column == (1 if phase == "before" else len(text) + 1)
        session.move("continue")


def test_names_mean_what_lines_mean(session: RawClient, run: Run) -> None:
    run(prompt=PROMPT, stopOnEntry=True).stop()
    model, modules = session.break_at("after:.", "model.layers")
    assert model["verified"]
    assert not modules["verified"], "nothing calls it"
    assert "is a list of modules" in modules["message"]
    assert session.move("continue")["text"] == "after the model in step 0"
    session.break_at()


def test_each_list_replaces_that_of_its_file_only(session: RawClient, run_with: RunWith, mine: Path) -> None:
    other = mine.with_name("other.llmmap")
    other.write_bytes(mine.read_bytes())
    set_lines(session, mine, {"line": line_of(mine, "model.layers.1")})
    set_lines(session, mine, {"line": line_of(mine, "model.layers.4")})
    set_lines(session, other, {"line": line_of(other, "model.layers.5")})
    session.restart(["*.layers.2"], prompt=PROMPT, model=session_model(session))
    found = [session.stop(), session.move("continue"), session.move("continue")]
    assert [stop["text"].split()[1] for stop in found] == [f"model.layers.{i}" for i in (2, 4, 5)]
    assert [stop["reason"] for stop in found] == ["function breakpoint", "breakpoint", "breakpoint"]
    run_with(other)
    run_with(mine)


def test_a_line_that_does_not_fit_the_model_says_why(session: RawClient, run_with: RunWith, mine: Path) -> None:
    text = mine.read_text(encoding="utf-8").replace("model.layers.2.mlp ", "model.layers.2.mpl ")
    mine.write_text(text.replace("model.embed_tokens  ", "model.embed_tokens  x", 1), encoding="utf-8")
    unknown, other, fine = run_with(
        mine,
        {"line": line_of(mine, "model.layers.2.mpl")},
        {"line": line_of(mine, "model.embed_tokens")},
        {"line": line_of(mine, "model.layers.2")},
        stopOnEntry=True,
    )
    session.stop()
    assert (unknown["verified"], unknown["reason"]) == (False, "failed")
    assert unknown["message"].startswith("LlamaForCausalLM has no module 'model.layers.2.mpl'; did you mean 'model.la")
    assert not other["verified"]
    assert other["message"].endswith("this map is of another model")
    assert fine["verified"]
    said = said_of(session, mine)
    assert f"{mine}:{unknown['line']}:{unknown['column']}: the model has no 'model.layers.2.mpl'; did you mean" in said
    assert f"{mine}:{other['line']}:" in said
    assert len(said.splitlines()) == 3


def test_a_map_edited_by_hand_is_followed_by_the_paths_on_its_lines(
    session: RawClient, run_with: RunWith, mine: Path
) -> None:
    """Comments, another order, other columns; what is left out points at Python."""
    kept = [
        line for line in lines_of(mine) if line.split()[:1] in (["model.layers.4"], ["sample"], ["step"], ["model"])
    ]
    mine.write_text("# llm-dap map 1\n# mine\n\n" + "\n\n".join(reversed(kept)) + "  # here", encoding="utf-8")
    line = line_of(mine, "model.layers.4")
    (state,) = run_with(mine, {"line": line})
    assert state["verified"]
    session.stop()
    frames = session.frames()
    mapped = {f["name"]: f["line"] for f in frames if f.get("source", {}).get("path") == str(mine)}
    assert mapped["model.layers.4 (before)"] == line
    assert mapped["step 0 (prefill)"] == line_of(mine, "step")
    whole = next(f for f in frames if f["name"] == "LlamaForCausalLM")
    assert whole["source"]["name"] == "modeling_llama.py"
    assert said_of(session, mine) == "", "nothing in it is wrong"


def test_a_map_of_another_model_is_not_used_and_its_lines_are_not_verified(
    session: RawClient, run_with: RunWith, tmp_path: Path
) -> None:
    other = tmp_path / "other.llmmap"
    other.write_text(OTHER, encoding="utf-8")
    states = run_with(other, {"line": 5}, {"line": 7}, stopOnEntry=True)
    session.stop()
    assert [state["verified"] for state in states] == [False, False]
    assert (
        states[0]["message"]
        == "the loaded model is LlamaForCausalLM, not GPT2LMHeadModel: this map is of another model"
    )
    assert states[1]["message"].startswith("LlamaForCausalLM has no module 'transformer.h.0'")
    assert "is not used: it is the map of another model than this LlamaForCausalLM" in said_of(session, other)
    assert where(session)[0] != str(other)


# --- which map


def test_the_map_of_the_launch_configuration_comes_first(session: RawClient, run_with: RunWith, mine: Path) -> None:
    given = mine.with_name("given.llmmap")
    given.write_text("\n".join(line for line in lines_of(mine) if "layernorm" not in line), encoding="utf-8")
    run_with(mine, {"line": line_of(mine, "model.layers.1")}, map=str(given))
    session.stop()
    assert where(session)[:2] == (str(given), line_of(given, "model.layers.1"))
    sources = session.ask("loadedSources")["sources"]
    assert sources[0] == {"name": "given.llmmap", "path": str(given), "origin": "model map"}
    assert sources[1]["name"] == "modeling_llama.py"


def test_a_launch_map_that_does_not_fit_is_told_line_by_line_up_to_twenty(
    session: RawClient, run_with: RunWith, mine: Path
) -> None:
    mine.write_text(
        mine.read_text(encoding="utf-8")
        .replace("LlamaMLP", "GatedMLP")
        .replace("Norm", "Scale")
        .replace("LlamaAtt", "Att")
    )
    run_with(mine.with_name("none.llmmap"), map=str(mine), stopOnEntry=True)
    session.stop()
    said = said_of(session, mine).splitlines()
    assert said[0] == "this map does not fit the LlamaForCausalLM that is loaded:"
    assert all(line.startswith(f"{mine}:") for line in said[1:21])
    assert said[21:] == ["… and 5 more"]


def test_a_launch_map_that_is_missing_is_said_and_another_is_used(
    session: RawClient, run_with: RunWith, made: Path
) -> None:
    run_with(made, map="/nowhere/at.llmmap", stopOnEntry=True)
    session.stop()
    why = "is not used: /nowhere/at.llmmap cannot be read: No such file or directory"
    assert why in said_of(session, Path("/nowhere/at.llmmap"))
    assert where(session)[0] == str(made)


def test_without_a_cache_the_stack_points_at_python(
    spawn: Spawn, example_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    client = spawn()
    client.response(client.begin(["*.layers.3"], model=str(example_model), prompt=PROMPT))
    client.stop()
    assert client.frames(levels=1)[0]["source"]["name"] == "modeling_llama.py"
    assert "this model has no map: NotADirectoryError" in client.output("console")
    assert client.ask("loadedSources")["sources"][0]["name"] == "modeling_llama.py"


def test_without_debugging_no_map_is_made(
    spawn: Spawn, example_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    client = spawn()
    client.begin(model=str(example_model), prompt=PROMPT, noDebug=True, generation={"max_new_tokens": 1})
    assert client.end() == 0
    assert not list(tmp_path.rglob("*.llmmap"))


# --- the stack


def test_every_frame_of_a_model_points_at_its_line(session: RawClient, run: Run, made: Path) -> None:
    client = run("after:model.layers.3.self_attn", prompt=PROMPT)
    client.stop()
    client.move("continue")
    frames = client.frames()
    text = lines_of(made)
    shown = {}
    for frame in frames:
        if frame["name"].endswith(".forward") or frame["name"] == "history":
            continue
        assert frame["source"] == {"name": "atlas.llmmap", "path": str(made), "origin": "model map"}
        line = text[frame["line"] - 1]
        is_after = frame["column"] == len(line) + 1
        assert is_after or line[frame["column"] - 2 : frame["column"] - 1].strip() == ""
        shown[frame["name"]] = (line.split()[0], is_after)
    assert list(shown.values()) == [
        ("model.layers.3.self_attn", True),
        ("model.layers.3", False),
        ("model", False),
        (".", False),
        ("step", False),
        *((f"model.layers.{i}", True) for i in (2, 1, 0)),
        ("step", False),
        ("step", False),
    ]
    assert [frame.get("moduleId") for frame in frames[:4:2]] == ["model.layers.3.self_attn", "model.layers.3"]
    forwards = [frame for frame in frames if frame["name"].endswith(".forward")]
    assert {frame["source"]["name"] for frame in forwards} == {"modeling_llama.py"}


def test_at_the_end_the_stack_points_behind_the_choice_of_the_token(session: RawClient, run: Run, made: Path) -> None:
    client = run(prompt=PROMPT, generation={"max_new_tokens": 2})
    assert client.stop()["description"] == "generation finished"
    path, line, column = where(client)
    assert (path, lines_of(made)[line - 1].split()[0]) == (str(made), "sample")
    assert column > 2
    assert names(client.frames())[0] == "step 1 (end of the generation)"


# --- going to lines


def test_a_line_offers_its_place_in_this_step_the_next_and_earlier_ones(
    session: RawClient, run: Run, made: Path, mine: Path
) -> None:
    client = run("*.layers.1", prompt=PROMPT, generation={"max_new_tokens": 4})
    client.stop()
    client.move("continue")

    def offers(file: Path, place: str) -> dict[str, int]:
        body = client.ask("gotoTargets", source={"path": str(file)}, line=line_of(file, place))
        return {target["label"]: target["id"] for target in body["targets"]}

    layer = offers(made, "model.layers.4")
    ahead = [f"{phase} model.layers.4 · step {step}" for step in (1, 2) for phase in ("before", "after")]
    assert list(layer) == [*ahead, "before model.layers.4 · step 0"]
    assert list(offers(made, "step")) == ["step 1", "step 2", "step 0"]
    assert list(offers(mine, "model.layers")) == [], "a list is never stood at"
    elsewhere = offers(mine, "model.layers.4")
    assert list(elsewhere) == list(layer), "any map will do"
    assert (
        client.move("goto", targetId=layer["after model.layers.4 · step 2"])["text"] == "after model.layers.4 in step 2"
    )
    assert where(client)[:2] == (str(made), line_of(made, "model.layers.4"))
    sample = offers(made, "sample")
    assert client.move("goto", targetId=sample["before sample · step 0"])["text"] == "before sample in step 0"
    with pytest.raises(Refused, match="cannot be read"):
        client.ask("gotoTargets", source={"path": "/nowhere/at.llmmap"}, line=1)


# --- modules


def test_the_modules_of_the_model_come_in_pages(session: RawClient, run: Run) -> None:
    client = run(prompt=PROMPT, stopOnEntry=True)
    client.stop()
    columns = [column["attributeName"] for column in client.capabilities["additionalModuleColumns"]]
    body = client.ask("modules")
    modules = body["modules"]
    assert body["totalModules"] == len(modules)
    pages = [client.ask("modules", startModule=start, moduleCount=40)["modules"] for start in (0, 40, 80, 10_000)]
    assert [module for page in pages for module in page] == modules[:120]
    whole, layer = modules[0], next(m for m in modules if m["id"] == "model.layers.3")
    assert (whole["id"], whole["name"], whole["type"]) == (".", "LlamaForCausalLM", "LlamaForCausalLM")
    assert whole["parameters"] == int(client.evaluate("sum(p.numel() for p in model.parameters())"))
    assert {column: layer[column] for column in columns} == {
        "type": "LlamaDecoderLayer",
        "parameters": int(client.evaluate("sum(p.numel() for p in model.model.layers[3].parameters())")),
        "dtype": "float32",
        "device": "cpu",
    }
    assert layer["path"].endswith("modeling_llama.py")
    lines = Path(layer["path"]).read_text().splitlines()
    assert lines[layer["line"] - 1].strip().startswith("def forward(")
    classes = [line for line in lines[: layer["line"]] if line.startswith("class ")]
    assert classes[-1].startswith("class LlamaDecoderLayer(")
    assert "list" in next(m for m in modules if m["id"] == "model.layers")["symbolStatus"]


def session_model(client: RawClient) -> str:
    """The model that the session was launched with."""
    name: str = next(m["body"]["name"] for m in client.messages if m.get("event") == "process")
    return name
