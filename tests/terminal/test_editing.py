"""Changing a run in the terminal, on the example model: what is typed, and what is seen."""

from __future__ import annotations

from pathlib import Path

from tests.terminal.test_session import llm_dap

AT = "after model.layers.1 · step 0 (prefill)"
ZERO = "zero output of model.layers.4 at position 2, all steps"


def test_edits_and_branches_as_they_are_typed(example_model: Path, tmp_path: Path) -> None:
    file, script = tmp_path / "edits.json", tmp_path / "commands"
    lines = [
        "zero(4, positions=2)",
        'token = " Lyon"',
        'token = " Tokyo"',
        "disable 1",
        "edits",
        f"edits save {file}",
        "continue",
        "undo all",
        "branches name 1 the other capital",
        "switch 1",
        "branches delete 2",
        "undo 9",
        f"edits load {file}",
        "undo",
        "edits",
    ]
    script.write_text("\n".join([*lines, "quit"]))
    options = ("--prompt", "The capital of France is", "--max-new-tokens", "4", "-b", "after:model.layers.1")
    played = llm_dap("run", str(example_model), *options, "--script", str(script), stdin="")
    told = played.stdout.split("(llm) ")
    seen = {line: [*map(str.strip, after.splitlines()[1:])] for line, after in zip(lines, told[1:], strict=False)}
    assert seen["zero(4, positions=2)"][0] == f"1  {ZERO}"
    assert seen["zero(4, positions=2)"][1].startswith("effect in step 0: ' Paris'")
    assert seen["zero(4, positions=2)"][-1] == f"stopped {AT} · edited: {ZERO}"
    assert seen['token = " Lyon"'] == ["error: ' Lyon' is no single token: it is ' L', 'y', 'on'"]
    assert seen['token = " Tokyo"'][0] == "2  the token = ' Tokyo', step 0"
    assert seen["disable 1"][-1] == f"stopped {AT} · switched off: {ZERO}"
    assert [line.split("  ")[0] for line in seen["edits"]] == ["1", "2", "3"], "two were loaded, and one of them undone"
    assert seen[f"edits save {file}"] == [f"2 edits in {file}"]
    assert seen["continue"][0] == "… Tokyo"
    assert "[branch 2] The capital of France is" in seen["undo all"]
    assert seen["undo all"][-1] == "stopped at step 0 (prefill) · all edits undone"
    assert seen["branches name 1 the other capital"][0] == "1  the other capital  ' Tokyo'"
    assert seen["branches name 1 the other capital"][-1] == "└── 2  ▸ branch 2 from step 0"
    assert seen["switch 1"][-1] == "stopped after model.layers.1 · step 1 · switched to the other capital"
    assert seen["branches delete 2"][0] == "1  ▸ the other capital  ' Tokyo'"
    assert seen["undo 9"] == ["error: there is no edit 9 in this branch: it has 1, 2"]
    assert played.returncode == 1, "two lines were refused"


def test_another_prompt_is_typed_and_one_goes_back_to_the_first(example_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "commands"
    lines = ['prompt = "The capital of Japan is"', "branches", "continue", "undo"]
    script.write_text("\n".join([*lines, "quit"]))
    options = ("--prompt", "The capital of France is", "--max-new-tokens", "2")
    played = llm_dap("run", str(example_model), *options, "--script", str(script), stdin="")
    first, japan, branches, onwards, undone = played.stdout.split("(llm) ")[:5]
    assert first.startswith("The capital of France is Paris.\n")
    assert "[branch 2: 'The capital of Japan is'] The capital of Japan is\n" in japan
    assert japan.endswith("stopped at step 0 (prefill) · edited: prompt = 'The capital of Japan is'\n")
    told = [*map(str.strip, branches.splitlines()[1:])]
    assert told == [
        "1  branch 1  ' Paris.'",
        "prompt = 'The capital of France is'",
        "└── 2  ▸ branch 2: 'The capital of Japan is' from step 0",
        "1  prompt = 'The capital of Japan is'",
    ]
    assert "… Tokyo.\n" in onwards
    assert "[branch 1] The capital of France is Paris.\n" in undone
