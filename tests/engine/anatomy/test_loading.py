"""What cannot be loaded says why, and what to do about it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from dap_server.engine.anatomy.loading import LoadError, load
from dap_server.protocol.launch import LaunchArguments


def error_of(**options: Any) -> str:
    with pytest.raises(LoadError) as error:
        load(LaunchArguments(**options), lambda _message, _percentage: None)
    return str(error.value)


@pytest.fixture
def folder(example_model: Path, tmp_path: Path) -> Path:
    """A copy of the example model, to be spoilt."""
    return Path(shutil.copytree(example_model, tmp_path / "model"))


def test_a_folder_without_a_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert error_of(model=str(folder)).startswith(f"'{folder}' is a folder without config.json")


def test_a_config_that_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "llama",')
    assert re.search(r"a JSON file of the model is broken.*config\.json", error_of(model=str(folder)), re.DOTALL)


def test_a_type_that_transformers_does_not_know(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "lama"}')
    assert re.search("cannot be loaded.*lama", error_of(model=str(folder)), re.DOTALL)


def test_weights_that_are_cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    text = error_of(model=str(folder))
    assert "a weights file is corrupt or incomplete" in text
    assert "Copy or download it again" in text


def test_a_folder_that_is_not_there_names_the_nearest(folder: Path) -> None:
    text = error_of(model=str(folder.with_name("modle")))
    assert "does not exist" in text
    assert "did you mean 'model'" in text


def test_a_device_that_is_none(example_model: Path) -> None:
    assert "device 'gpu:0' cannot be used here" in error_of(model=str(example_model), device="gpu:0")
