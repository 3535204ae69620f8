"""A whole session in a damaged copy of the example model, as a person types it."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.terminal.test_session import PROMPT, llm_dap

COMMANDS = """\
where
catch off
catch repetition if repeats >= 3
continue
catch
costs
"""
DAMAGED = "model.layers.4.mlp.down_proj.weight"


def damaged(model: Path, folder: Path) -> Path:
    """A copy with a NaN in one weight of layer 4."""
    copy = folder / "damaged"
    shutil.copytree(model, copy)
    weights = load_file(copy / "model.safetensors")
    weights[DAMAGED] = weights[DAMAGED].index_put((torch.tensor(17), torch.tensor(3)), torch.tensor(float("nan")))
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.fixture(scope="module")
def played(example_model: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("session")
    script = folder / "commands"
    script.write_text(COMMANDS)
    options = ("--max-new-tokens", "8", "--catch", "repetition", "--script", str(script))
    return llm_dap("run", str(damaged(example_model, folder)), "--prompt", PROMPT, *options)


def test_a_damaged_weight_is_named_at_the_stop_where_its_nan_is_born(
    played: subprocess.CompletedProcess[str],
) -> None:
    text = re.sub(r"\s+", " ", played.stdout)
    assert "stopped after model.layers.4.mlp.down_proj · step 0 (prefill) · Non-finite values NaN in" in text
    assert "← parameter model.layers.4.mlp.down_proj.weight has NaN at [17, 3], 1 of 98,304 values" in text
    assert "← operation aten::mm made it" in text
    where = text.partition("(llm) where ")[2].partition("(llm)")[0]
    assert re.search(
        r"▸ after model.layers.4.mlp.down_proj, step 0 \(prefill\) NaN in what .* returns in step 0", where
    )
    off = text.partition("(llm) catch off ")[2].partition("(llm)")[0]
    assert [name for name in ("nonFinite", "forwardError", "repetition", "residual") if f"○ {name}" in off] == [
        *("nonFinite", "forwardError", "repetition")
    ]
    assert "stopped after sample · step 2 · Repetition loop the last 3 tokens are 3 times the same 1" in text
    assert "● repetition the text goes round in circles if repeats >= 3" in text
    assert re.search(r"catch repetition 1 \d+ .* at once", text.partition("(llm) costs ")[2])
    assert played.returncode == 0


def test_it_is_what_the_readme_shows(played: subprocess.CompletedProcess[str]) -> None:
    (readme,) = (parent / "README.md" for parent in Path(__file__).parents if (parent / "README.md").exists())
    shown = readme.read_text(encoding="utf-8").partition("$ llm-dap run damaged --prompt")[2].partition("```")[0]
    assert shown.strip().splitlines()[1:]
    for line in shown.strip().splitlines()[1:]:
        assert line in played.stdout.splitlines()
