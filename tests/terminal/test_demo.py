"""`llm-dap demo` where there is no terminal, which the README shows."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.docs.test_docs import BLOCK, text
from tests.terminal.test_session import llm_dap


@pytest.fixture(scope="module")
def played() -> subprocess.CompletedProcess[str]:
    return llm_dap("demo")


def test_the_demo_plays_a_session_without_a_terminal(played: subprocess.CompletedProcess[str]) -> None:
    assert (played.returncode, played.stderr) == (0, "")
    lines = played.stdout.splitlines()
    assert "stopped before model.layers.3 · step 0 (prefill) · function breakpoint *.layers.3" in lines
    assert "├── token        ' Paris'" in lines
    assert "stopped before model.layers.2 · step 3" in lines
    assert "stopped before sample · step 2 · function breakpoint sample" in lines
    assert any(re.fullmatch(r"▸ 6 model\.layers\.2 \(done\)  atlas\.llmmap:\d+", line) for line in lines)
    assert max(map(len, lines)) <= 100
    assert "error" not in played.stdout
    assert "\x1b" not in played.stdout
    assert any(line.startswith("…") and " Paris." in line for line in lines)


def test_the_transcript_of_the_readme_is_what_it_prints(played: subprocess.CompletedProcess[str]) -> None:
    """Apart from numbers, which may differ from processor to processor, and from what is cut."""
    shown = next(body for kind, body in BLOCK.findall(text("README.md")) if kind == "")
    printed = iter(without_numbers(played.stdout).splitlines())
    for line in without_numbers(shown).splitlines():
        assert line == "⋮" or line in printed, f"the demo does not print this, or not here: {line}"


def without_numbers(transcript: str) -> str:
    return re.sub(r"-?\b\d+(\.\d+)?(e-?\d+)?\b", "0", transcript)
