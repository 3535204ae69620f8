"""A whole session in which the run is changed, as a person types it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.terminal.test_session import PROMPT, llm_dap

COMMANDS = """\
sweep 'The capital of Japan is' target ' Tokyo'
patch(2, prompt="The capital of Japan is", positions=" France")
continue
undo
continue
continue
branches
"""


@pytest.fixture(scope="module")
def played(example_model: Path, tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    script = tmp_path_factory.mktemp("session") / "commands"
    script.write_text(COMMANDS)
    options = ("--break", "sample", "--max-new-tokens", "6", "--script", str(script))
    return llm_dap("run", str(example_model), "--prompt", PROMPT, *options)


def test_a_fact_is_found_taken_from_another_text_and_given_back(played: subprocess.CompletedProcess[str]) -> None:
    patched, undone = played.stdout.partition("(llm) undo")[::2]
    assert re.search(r"effect in step 0: ' Paris' 100\.0% → ' Tokyo' 9\d\.\d%", patched)
    assert "… Tokyo\n" in patched
    assert re.search(r"effect in step 0: ' Tokyo' 9\d\.\d% → ' Paris' 100\.0%", undone)
    assert "… Paris\n" in undone
    assert re.search(r"1  branch 1  ' Tokyo'\n.*\n└── 2  ▸ branch 2 from step 0  ' Paris'\n", undone, re.DOTALL)
    assert played.returncode == 0


def test_it_is_what_the_readme_shows(played: subprocess.CompletedProcess[str]) -> None:
    (readme,) = (parent / "README.md" for parent in Path(__file__).parents if (parent / "README.md").exists())
    shown = readme.read_text(encoding="utf-8").partition("(llm) sweep")[2].partition("```")[0]
    lines = [line for line in f"(llm) sweep{shown}".splitlines() if line not in ("", "⋮")]
    assert len(lines) > 15
    for line in lines:
        assert line in played.stdout.splitlines()
