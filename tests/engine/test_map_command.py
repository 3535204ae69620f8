"""`llm-dap map`: what it writes, what it refuses to overwrite, what it says has changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dap_server.__main__ import main
from dap_server.modelmap.text import read_map

ROOT = Path(__file__).parents[2]
ATLAS = "fixtures/models/atlas"
WRITTEN = (ROOT / "fixtures" / "maps" / "atlas.llmmap").read_text(encoding="utf-8")
SMALL = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 40, "hidden_size": 8,
    "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The folder of a configuration."""
    (tmp_path / "small").mkdir()
    return with_layers(tmp_path / "small", 2)


def with_layers(folder: Path, count: int) -> Path:
    (folder / "config.json").write_text(json.dumps(SMALL | {"num_hidden_layers": count}))
    return folder


def test_the_map_goes_to_standard_output() -> None:
    command = [sys.executable, "-m", "dap_server", "map", ATLAS]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert done.stdout.decode() == WRITTEN
    assert not done.stderr


def test_a_map_is_written_to_a_file_but_over_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "atlas.llmmap"
    assert main(["map", ATLAS, "-o", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == WRITTEN
    assert main(["map", ATLAS, "-o", str(path)]) == 0
    path.write_text(WRITTEN + "# mine\n", encoding="utf-8")
    assert main(["map", ATLAS, "-o", str(path)]) == 1
    assert "--update" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8").endswith("# mine\n")
    assert main(["map", ATLAS, "-o", str(path), "--force"]) == 0
    assert path.read_text(encoding="utf-8") == WRITTEN


def test_an_update_keeps_comments_and_says_what_has_changed(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "small.llmmap"
    assert main(["map", str(small), "-o", str(path)]) == 0
    text = path.read_text(encoding="utf-8").replace("lm_head", "# the head\n  lm_head")
    path.write_text(text, encoding="utf-8")
    old = read_map(text)
    with_layers(small, 3)
    capsys.readouterr()
    assert main(["map", "--update", str(path), "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    new = read_map(path.read_text(encoding="utf-8"))
    assert "# the head" in path.read_text(encoding="utf-8")
    assert told["removed"] == []
    assert told["added"] == [line.path for line in new.lines.values() if line.path.startswith("model.layers.2")]
    assert {old.lines[int(line)].path for line in told["moves"]} == {line.path for line in old.lines.values()}
    assert all(old.lines[int(line)].path == new.lines[number].path for line, number in told["moves"].items())
    assert "13 added (model.layers.2, model.layers.2.input_layernorm" in said.err
    assert "lines moved" in said.err
    assert main(["map", "--update", str(path)]) == 0
    assert capsys.readouterr().err.endswith("nothing has changed\n")


def test_an_update_says_what_is_gone(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.llmmap"
    assert main(["map", str(small), "-o", str(path)]) == 0
    with_layers(small, 1)
    assert main(["map", str(small), "--update", str(path)]) == 0
    assert "13 removed (model.layers.1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is a folder without config.json"),
        ("{", "a JSON file of the model is broken"),
        ("{}", "Should have a `model_type` key"),
        ('{"model_type": "vit"}', "loads models of type 'vit'"),
        ('{"model_type": "llama", "num_attention_heads": 7}', "not a multiple of the number of attention heads"),
    ],
)
def test_what_is_wrong_with_a_model_is_said_in_a_line(
    content: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert main(["map", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name a model"),
        (["no/such/folder"], "does not exist"),
        (["fixtures/models/atlsa/x"], "does not exist"),
        (["nobody/nothing"], "that this machine can reach"),
        ([ATLAS, "-o", "no/such/folder/a.llmmap"], "the folder 'no/such/folder' does not exist"),
        (["--update", "no.llmmap"], "write a new map with -o"),
        (["--update", "README.md"], "does not say which model it is of"),
        (["--update", "fixtures/models/atlas/model.safetensors"], "not written in UTF-8"),
        ([ATLAS, "-o", "fixtures"], "Is a directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", *arguments]) == 1
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
