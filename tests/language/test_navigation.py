"""From a place to its Python, to its like, and to files."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lsprotocol import types
from pygls.uris import to_fs_path
from transformers.generation.logits_process import TemperatureLogitsWarper
from transformers.models.llama import modeling_llama

from tests.language.client import DOCUMENT, Editor
from tests.language.maps import ATLAS, line_of, small_map


def at(place: str, word: str | None = None) -> dict[str, Any]:
    line = line_of(ATLAS, place)
    position = types.Position(line, ATLAS.splitlines()[line].index(word or place))
    return {"text_document": DOCUMENT, "position": position}


def target(links: Any) -> tuple[str, int, str]:
    """File, line and word that the one link leads to."""
    [link] = links
    assert isinstance(link, types.LocationLink)
    path = to_fs_path(link.target_uri)
    assert path is not None
    selected = link.target_selection_range
    line = Path(path).read_text(encoding="utf-8").splitlines()[selected.start.line]
    assert link.target_range.start.line == selected.start.line
    assert link.target_range.end.line >= selected.end.line
    return Path(path).name, selected.start.line, line[selected.start.character : selected.end.character]


def line_in_python(thing: Any) -> int:
    """From 0, as Python itself says; decorators count for it."""
    lines, first = inspect.getsourcelines(thing)
    return first - 1 + next(i for i, line in enumerate(lines) if line.lstrip().startswith(("class ", "def ")))


def test_a_class_leads_to_its_line(editor: Editor) -> None:
    params = types.DefinitionParams(**at("model.layers.0.mlp", "LlamaMLP"))
    found = editor.wait(editor.client.text_document_definition_async(params))
    assert target(found) == ("modeling_llama.py", line_in_python(modeling_llama.LlamaMLP), "LlamaMLP")


def test_a_path_leads_to_what_runs_there(editor: Editor) -> None:
    params = types.DefinitionParams(**at("model.layers.0.mlp"))
    found = editor.wait(editor.client.text_document_definition_async(params))
    assert target(found) == ("modeling_llama.py", line_in_python(modeling_llama.LlamaMLP.forward), "forward")
    model = types.DefinitionParams(**at("."))
    found = editor.wait(editor.client.text_document_definition_async(model))
    forward = inspect.unwrap(modeling_llama.LlamaForCausalLM.forward)
    assert target(found) == ("modeling_llama.py", line_in_python(forward), "forward")


def test_type_and_implementation_lead_to_class_and_forward_from_anywhere_on_the_line(editor: Editor) -> None:
    where = at("lm_head", "(B, T")
    linear = torch.nn.Linear
    kind = editor.wait(editor.client.text_document_type_definition_async(types.TypeDefinitionParams(**where)))
    assert target(kind) == ("linear.py", line_in_python(linear), "Linear")
    runs = editor.wait(editor.client.text_document_implementation_async(types.ImplementationParams(**where)))
    assert target(runs) == ("linear.py", line_in_python(linear.forward), "forward")


def test_a_logits_processor_leads_to_its_call(editor: Editor) -> None:
    params = types.DefinitionParams(**at("TemperatureLogitsWarper"))
    found = editor.wait(editor.client.text_document_definition_async(params))
    call = line_in_python(TemperatureLogitsWarper.__call__)
    assert target(found) == ("logits_process.py", call, "__call__")


def test_the_table_of_classes_leads_there_too(editor: Editor) -> None:
    line = ATLAS.splitlines().index("# LlamaMLP: transformers.models.llama.modeling_llama")
    params = types.DefinitionParams(DOCUMENT, types.Position(line, 4))
    found = editor.wait(editor.client.text_document_definition_async(params))
    assert target(found)[2] == "LlamaMLP"


@pytest.mark.parametrize("place", ["step", "sample", "model.embed_tokens", "model.layers"])
def test_what_has_no_python_of_its_own_leads_nowhere_or_to_its_class(editor: Editor, place: str) -> None:
    found = editor.wait(editor.client.text_document_definition_async(types.DefinitionParams(**at(place))))
    words = [target([link])[2] for link in found] if isinstance(found, Sequence) else []
    assert words == (["ModuleList"] if place == "model.layers" else [])


def test_code_that_came_with_a_model_is_found_in_its_folder(start: Callable[[], Editor], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "modeling_own.py").write_text(
        "from .parts import Base\n\n\nclass LlamaMLP(Base):\n    pass\n", encoding="utf-8"
    )
    (tmp_path / "parts.py").write_text("class Base:\n    def forward(self): ...\n", encoding="utf-8")
    text = small_map(str(tmp_path)).replace(
        "# LlamaMLP: transformers.models.llama.modeling_llama", "# LlamaMLP: transformers_modules.own.modeling_own"
    )
    editor = start()
    editor.initialize()
    editor.open(text)
    line = line_of(text, "model.layers.0.mlp")
    column = text.splitlines()[line].index("model")
    params = types.DefinitionParams(DOCUMENT, types.Position(line, column))
    found = editor.wait(editor.client.text_document_definition_async(params))
    assert target(found) == ("parts.py", 1, "forward")
    assert editor.end() == 0


def test_references_are_the_lines_of_the_same_class(editor: Editor) -> None:
    params = types.ReferenceParams(types.ReferenceContext(True), **at("model.layers.0.mlp"))
    found = editor.wait(editor.client.text_document_references_async(params)) or ()
    assert [location.range.start.line for location in found] == [
        line_of(ATLAS, "model.layers.0.mlp"),
        line_of(ATLAS, "model.layers.1.mlp"),
    ]
    assert {location.uri for location in found} == {DOCUMENT.uri}


def test_highlights_are_the_classes_on_these_lines(editor: Editor) -> None:
    params = types.DocumentHighlightParams(**at("model.layers.1.mlp"))
    found = editor.wait(editor.client.text_document_document_highlight_async(params)) or ()
    lines = ATLAS.splitlines()
    words = {lines[h.range.start.line][h.range.start.character : h.range.end.character] for h in found}
    assert len(found) == 2
    assert words == {"LlamaMLP"}


def test_links_lead_to_the_config_and_to_modeling_files(
    start: Callable[[], Editor], tmp_path: Path, example_model: Path
) -> None:
    shutil.copy(example_model / "config.json", tmp_path)
    editor = start()
    editor.initialize()
    editor.open(small_map(tmp_path.name), (tmp_path / "atlas.llmmap").as_uri())
    document = types.TextDocumentIdentifier((tmp_path / "atlas.llmmap").as_uri())
    links = editor.wait(editor.client.text_document_document_link_async(types.DocumentLinkParams(document))) or ()
    files = [Path(to_fs_path(link.target or "") or "").name for link in links]
    assert files[0] == "config.json"
    assert set(files[1:]) == {"linear.py", "modeling_llama.py", "container.py"}
    assert editor.end() == 0


def test_an_id_of_the_hub_leads_to_its_page(editor: Editor) -> None:
    first, *_ = editor.wait(editor.client.text_document_document_link_async(types.DocumentLinkParams(DOCUMENT))) or ()
    assert first.target == "https://huggingface.co/models/atlas"
