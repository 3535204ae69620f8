"""Classes and methods are found by reading, and where Python itself finds them."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from dap_server.language.python_sources import find_class, find_method, module_file


def python_says(thing: Any) -> tuple[Path, int]:
    """File and line from 0 of a class or a method; decorators count for it."""
    thing = inspect.unwrap(thing)
    lines, first = inspect.getsourcelines(thing)
    before = next(i for i, line in enumerate(lines) if line.lstrip().startswith(("class ", "def ")))
    return Path(inspect.getsourcefile(thing) or ""), first - 1 + before


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("transformers.models.llama.modeling_llama", "LlamaForCausalLM"),
        ("transformers.models.qwen3_next.modeling_qwen3_next", "Qwen3NextSparseMoeBlock"),
        ("transformers.models.mamba.modeling_mamba", "MambaMixer"),
        ("transformers.models.t5.modeling_t5", "T5LayerNorm"),
        ("transformers.activations", "GELUActivation"),
        ("torch.nn.modules.sparse", "Embedding"),
        ("torch.nn.modules.activation", "SiLU"),
    ],
)
def test_class_and_forward_lie_where_python_says(module: str, name: str) -> None:
    kind = getattr(importlib.import_module(module), name)
    found = find_class(module, name)
    assert found is not None
    assert (found.file, found.line) == python_says(kind)
    forward = find_method(module, name, "forward")
    assert forward is not None
    assert (forward.file, forward.line) == python_says(kind.forward)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("transformers.models.mistral.modeling_mistral", "MistralForSequenceClassification"),  # from a mixin elsewhere
        ("torch.nn.modules.linear", "NonDynamicallyQuantizableLinear"),  # from a class in the same file
        ("torch.nn.modules.instancenorm", "InstanceNorm1d"),  # from a base of the base
    ],
)
def test_an_inherited_forward_is_found_in_the_base(module: str, name: str) -> None:
    kind = getattr(importlib.import_module(module), name)
    assert "forward" not in vars(kind)
    found = find_method(module, name, "forward")
    assert found is not None
    assert (found.file, found.line) == python_says(kind.forward)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("no.such.module", "Class"),
        ("torch.no_such", "Class"),
        ("torch.nn.modules.linear", "NoSuch"),
        ("torch._C", "Generator"),
        ("", "Class"),
        ("..", "Class"),
        ("transformers_modules.x.y", "Class"),
    ],
)
def test_what_is_not_there_is_not_found(module: str, name: str) -> None:
    assert find_class(module, name) is None
    assert find_method(module, name, "forward") is None


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_files_that_cannot_be_read_and_circles_of_imports_end_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "odd_package"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    write(
        package,
        __init__="",
        broken="class Broken(:",
        one="from .two import Circle\nfrom .two import *\n",
        two="from .one import Circle\nfrom .one import *\n",
        itself="class Itself(Itself):\n    pass\n",
        optional="try:\n    import torch\nexcept ImportError:\n    pass\nelse:\n    class There:\n        if True:\n"
        "            def forward(self): ...\n",
        passed_on="from . import optional\nfrom .optional import There as Here\n\nclass A(optional.There): ...\n",
    )
    (package / "latin.py").write_bytes(b"class Latin: x = '\xe9'\n")
    for module, name in [("broken", "Broken"), ("one", "Circle"), ("one", "Other"), ("latin", "Latin")]:
        assert find_class(f"odd_package.{module}", name) is None
    assert find_method("odd_package.itself", "Itself", "forward") is None
    for name in ("Here", "A"):
        found = find_method("odd_package.passed_on", name, "forward")
        assert found is not None
        assert (found.file.name, found.line) == ("optional.py", 7)


def test_a_file_that_changes_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path, changing_module="class A: ...\n")
    assert module_file("changing_module") == tmp_path / "changing_module.py"
    found = find_class("changing_module", "A")
    assert found is not None
    assert found.line == 0
    write(tmp_path, changing_module="# one line more\nclass A: ...\n")
    found = find_class("changing_module", "A")
    assert found is not None
    assert found.line == 1
