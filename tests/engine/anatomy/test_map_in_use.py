"""Which map a session uses, and what is kept in the user's cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dap_server.engine.anatomy.map_in_use import MapChoice, kept
from dap_server.engine.anatomy.mapping import map_of
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.modelmap.text import ModelMap, write_map
from tests.models.tiny import tiny_model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llm-dap" / "maps"


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return Anatomy(tiny_model("llama"))


class Choosing(MapChoice):
    """Keeps what was said, and counts how often a map was made."""

    def __init__(self, anatomy: Anatomy) -> None:
        self.said: list[str] = []
        self.made: list[str] = []
        super().__init__(anatomy, self._map, self.said.append)

    def _map(self, name: str) -> ModelMap:
        self.made.append(name)
        return map_of(self._anatomy.model, name)


def test_a_map_is_made_once_and_points_at_every_module(anatomy: Anatomy, cache: Path) -> None:
    choosing = Choosing(anatomy)
    map = choosing.choose(None, [], "models/tiny llama/")
    assert map is not None
    assert map.name == "tiny-llama.llmmap"
    assert [path.name for path in cache.iterdir()] == [os.path.basename(map.path)]
    text = Path(map.path).read_text(encoding="utf-8").splitlines()
    for path in anatomy.modules:
        before, after = map.point(path), map.point(path, "after")
        assert before is not None
        assert after is not None
        line = text[before.line - 1]
        assert line[before.column - 1 :].split()[0] == (path or ".")
        assert (after.line, after.column) == (before.line, len(line) + 1)
    assert map.point("nowhere") is None
    assert choosing.choose(None, [], "models/tiny llama/") is map
    assert (choosing.made, choosing.said) == (["models/tiny llama/"], [])


def test_a_map_in_the_cache_is_never_written_again(anatomy: Anatomy, cache: Path) -> None:
    text = write_map(map_of(anatomy.model, "tiny"))
    path = Path(kept(text, "tiny"))
    path.write_text(f"# mine\n{text}", encoding="utf-8")
    assert kept(text, "tiny") == str(path)
    map = Choosing(anatomy).choose(None, [], "tiny")
    assert map is not None
    assert map.path == str(path)
    assert path.read_text(encoding="utf-8").startswith("# mine\n")
    assert kept(text.replace("# task", "# tusk"), "tiny") != str(path)
    assert len(list(cache.iterdir())) == 2


def test_the_first_candidate_of_this_model_is_taken(anatomy: Anatomy, tmp_path: Path) -> None:
    other = tmp_path / "other.llmmap"
    other.write_text(write_map(map_of(tiny_model("gpt2"), "other")), encoding="utf-8")
    short = tmp_path / "short.llmmap"
    short.write_text("# llm-dap map 1\n\nmodel.layers.1  LlamaDecoderLayer\n", encoding="utf-8")
    choosing = Choosing(anatomy)
    map = choosing.choose(None, [str(tmp_path / "none.llmmap"), str(other), str(short)], "tiny")
    assert map is not None
    assert map.path == str(short)
    assert choosing.said == [f"{other} is not used: it is the map of another model than this LlamaForCausalLM\n"], (
        "a candidate that is not there has its breakpoints unverified, which says enough"
    )
    assert choosing.made == []
    assert choosing.choose(str(short), [], "tiny") is map
    assert len(choosing.said) == 1


@pytest.mark.parametrize("text", ["", "# llm-dap map 1\n\nstep\nsample\n", "what I thought of\n"])
def test_a_file_without_lines_of_modules_is_no_map(anatomy: Anatomy, tmp_path: Path, text: str) -> None:
    path = tmp_path / "empty.llmmap"
    path.write_text(text, encoding="utf-8")
    choosing = Choosing(anatomy)
    map = choosing.choose(str(path), [], "tiny")
    assert map is not None
    assert map.name == "tiny.llmmap"
    assert choosing.said == [f"{path} is not used: it is no model map, it has no lines of modules\n"]


def test_lines_that_cannot_be_read_are_told_with_those_that_do_not_fit(anatomy: Anatomy, tmp_path: Path) -> None:
    path = tmp_path / "mine.llmmap"
    path.write_text("# llm-dap map 9\n\nmodel.layers.1  LlamaDecoderLayer\nmy own words\n", encoding="utf-8")
    choosing = Choosing(anatomy)
    map = choosing.choose(str(path), [], "tiny")
    assert map is not None
    assert map.path == str(path)
    version, words = choosing.said[0].splitlines()[1:]
    assert choosing.said[0].startswith("this map cannot be read as it stands:\n")
    assert version == f"{path}:1:15: this map has form 9, of a newer llm-dap; this one reads form 1"
    assert words.startswith(f"{path}:4:1: this is no place: ")
    path.write_text("# llm-dap map 1\nmodel.layers.1  Layer\nmy own words\nmodel.norm\n", encoding="utf-8")
    choosing = Choosing(anatomy)
    choosing.choose(str(path), [], "tiny")
    heading, *lines = choosing.said[0].splitlines()
    assert heading == "this map cannot be read as it stands and does not fit the LlamaForCausalLM that is loaded:"
    assert [line.split(":")[1] for line in lines] == ["2", "3"], "in the order of the file"


def test_parameters_that_differ_are_told(anatomy: Anatomy, tmp_path: Path) -> None:
    path = tmp_path / "wider.llmmap"
    text = write_map(map_of(anatomy.model, "wider"))
    line = next(line for line in text.splitlines() if "model.layers.1.mlp.up_proj" in line)
    count = next(word for word in line.split() if word.replace(",", "").isdigit())
    path.write_text(text.replace(line, line.replace(count, "8,192")), encoding="utf-8")
    choosing = Choosing(anatomy)
    assert choosing.choose(str(path), [], "tiny") is not None
    assert f"'model.layers.1.mlp.up_proj' has {count} parameters in the model" in choosing.said[0]


def test_a_file_that_is_edited_is_followed_and_one_that_is_gone_stays(anatomy: Anatomy, tmp_path: Path) -> None:
    path = tmp_path / "short.llmmap"
    path.write_text("# llm-dap map 1\n\nmodel.layers.1  LlamaDecoderLayer\n", encoding="utf-8")
    map = Choosing(anatomy).choose(str(path), [], "tiny")
    assert map is not None
    path.write_text("# llm-dap map 1\n\n# more\n  model.layers.1  LlamaDecoderLayer\n", encoding="utf-8")
    map.refresh()
    assert map.point("model.layers.1") == (str(path), "short.llmmap", 4, 3)
    path.unlink()
    map.refresh()
    assert map.point("model.layers.1") == (str(path), "short.llmmap", 4, 3)


def test_a_map_that_cannot_be_made_is_said_once(anatomy: Anatomy) -> None:
    def fail(_name: str) -> ModelMap:
        raise MemoryError("no room")

    said: list[str] = []
    choosing = MapChoice(anatomy, fail, said.append)
    assert choosing.choose(None, [], "tiny") is None
    assert choosing.choose(None, [], "tiny") is None
    assert said == ["this model has no map: MemoryError: no room\n"]
