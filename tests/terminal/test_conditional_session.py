"""A whole session with conditions, hit conditions and log messages, as a person types it."""

from pathlib import Path

from tests.terminal.test_session import PROMPT, llm_dap

COMMANDS = """\
break sample if text == " Paris" and prob > 0.5
break sample if tokn == 3
continue
delete all
break sample log {step}: {text!r} {prob > 0.5}
break after:model.layers.1 if norm > 1 hits 2
continue
delete 2
break model.layers.2 if 1 / (step - 2) > 2
continue
continue
"""


def test_conditions_stop_log_points_write_and_what_raises_is_told(example_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "commands"
    script.write_text(COMMANDS)
    options = ("--max-new-tokens", "4", "-b", "step if step == 9", "--stop-on-entry")
    played = llm_dap("run", str(example_model), "--prompt", PROMPT, *options, "--script", str(script))
    raised = "before model.layers.2 in step 2: ZeroDivisionError: division by zero (column 1)"
    lines = [line.partition("  judged ")[0] for line in played.stdout.splitlines()]
    assert [line for line in lines if not line.startswith(("(llm)", "breakpoint ", "   catch "))] == [
        "The capital of France is",
        "stopped at step 0 (prefill) · entry",
        '2  sample if text == " Paris" and prob > 0.5',
        "error: no name 'tokn' here; did you mean 'token' or 'top'? (column 1)",
        "stopped after sample · step 0 (prefill) · function breakpoint sample",
        "no breakpoints",
        "1  sample log {step}: {text!r} {prob > 0.5}",
        "2  after:model.layers.1 if norm > 1 hits 2",
        "… Paris",
        "1: '.' True",
        "….",
        "stopped after model.layers.1 · step 2 · function breakpoint after:model.layers.1",
        "1  sample log {step}: {text!r} {prob > 0.5}",
        "2  model.layers.2 if 1 / (step - 2) > 2",
        f"stopped before model.layers.2 · step 2 · the condition '1 / (step - 2) > 2' raised, {raised}",
        "2: ' The' True",
        "… The",
        "3: ' currency' True",
        "… currency",
        "stopped at step 3 (end of the generation) · generation finished",
    ]
    assert played.returncode == 1, "the script had an error"
