"""The TextMate grammar, for editors without a language server: it colours a map as the language server does."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dap_server.language.documents import Document
from dap_server.language.text import Text
from dap_server.language.tokens import TYPES, semantic_tokens
from dap_server.modelmap.writing import HEADER
from tests.language.client import MAP_URI
from tests.language.maps import ATLAS, large_map

EXTENSION = Path(__file__).parents[2] / "vscode-extension"
GRAMMAR = EXTENSION / "syntaxes" / "llmmap.tmLanguage.json"
NODE = Path(__file__).parent / "grammar"

EDITED = """\
# llm-dap map 1
#  model:   fixtures/models/atlas
# mine: not a header
step  one pass   # a comment
.  Llama  (B, T) -> (B, T, 8)  12  5.2 MFLOP
  model.layers.0.act_fn\tSiLU  # 😋 model.norm
model.layers.10  LlamaLayer  5 FLOP  a note, with (brackets) and 3 numbers
  TemperatureLogitsWarper
a.b#c  Linear
"""

SCOPES = {
    "comment.line.number-sign.llmmap": "comment",
    "punctuation.definition.comment.llmmap": "comment",
    "keyword.other.llmmap": "keyword",
    "string.unquoted.llmmap": "string",
    "string.unquoted.note.llmmap": "string",
    "keyword.control.llmmap": "event",
    "entity.name.function.llmmap": "namespace",
    "constant.numeric.index.llmmap": "number",
    "constant.numeric.llmmap": "number",
    "entity.name.type.class.llmmap": "class",
    "variable.parameter.llmmap": "typeParameter",
}
"""What each scope is to the language server; punctuation and arrows have no colour there."""


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def by_server(text: str) -> list[list[tuple[str, str]]]:
    """Word and type, by line."""
    lines: list[list[tuple[str, str]]] = [[] for _ in text.split("\n")]
    data = semantic_tokens(Document(MAP_URI, Text(text, "utf-32"))).data
    line = column = 0
    for i in range(0, len(data), 5):
        line, column = line + data[i], data[i + 1] if data[i] else column + data[i + 1]
        lines[line].append((text.split("\n")[line][column : column + data[i + 2]], TYPES[data[i + 3]]))
    return lines


def by_grammar(text: str) -> list[list[tuple[str, str]]]:
    command = ["node", str(NODE / "colour.mjs"), str(GRAMMAR)]
    played = subprocess.run(command, input=text.encode(), capture_output=True, timeout=60)
    assert played.returncode == 0, played.stderr.decode()
    return [
        [(word, SCOPES[scope]) for word, scope in line if scope in SCOPES and word.strip(" \t.")]
        for line in json.loads(played.stdout)
    ]


def words(line: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A path of the grammar holds its dots; the language server has a token for each name."""
    return [
        (word, kind) for text, kind in line for word in (text.split(".") if kind == "namespace" else [text]) if word
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.skipif(not (NODE / "node_modules").exists(), reason="needs vscode-textmate: make node")
@pytest.mark.parametrize("text", [ATLAS, large_map(2), EDITED], ids=["small", "large", "edited"])
def test_the_tokenizer_of_vs_code_colours_as_the_language_server_does(text: str) -> None:
    for line, server, grammar in zip(text.split("\n"), by_server(text), by_grammar(text), strict=True):
        if re.match(r"# \w+: \w+(\.\w+)+$", line) and line not in text.split("# classes")[0]:
            assert grammar == [("#", "comment"), (line[2:].partition(":")[0], "class")], line
            continue
        assert words(grammar) == words(server), line


def test_every_pattern_that_is_included_is_there_and_has_a_name_of_this_language() -> None:
    grammar = load(GRAMMAR)
    assert grammar["scopeName"] == "source.llmmap"
    included = {pattern["include"].removeprefix("#") for pattern in grammar["patterns"]}
    assert included == grammar["repository"].keys()

    def look(rule: Any) -> None:
        if isinstance(rule, dict):
            if "match" in rule and "name" in rule:
                assert rule["name"].endswith(".llmmap")
            for value in rule.values():
                look(value)
        elif isinstance(rule, list):
            for value in rule:
                look(value)

    look(grammar["repository"])


def test_the_names_of_the_header_are_those_that_are_written() -> None:
    names = re.search(r"\(([\w|]+)\)\(:\)", load(GRAMMAR)["repository"]["header"]["match"])
    assert names is not None
    assert names[1].split("|") == list(HEADER)


def test_comments_folding_and_words_are_those_of_maps() -> None:
    configuration = load(EXTENSION / "language-configuration.json")
    assert configuration["comments"] == {"lineComment": "#"}
    assert configuration["folding"] == {"offSide": True}
    assert re.findall(configuration["wordPattern"], "model.layers.3.mlp  LlamaMLP") == [
        "model.layers.3.mlp",
        "LlamaMLP",
    ]
