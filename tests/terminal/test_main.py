import io
from pathlib import Path
from typing import Any

import pytest

from dap_server.terminal import main
from dap_server.terminal.screen import Screen


def options(*argv: str) -> dict[str, Any]:
    return main.launch_options(main._parser().parse_args(["model", *argv]))


def test_what_is_not_given_is_not_sent() -> None:
    assert options("--prompt", "a") == {"model": "model", "prompt": "a"}


def test_several_prompts_are_a_batch() -> None:
    assert options("--prompt", "a", "--prompt", "b")["prompts"] == ["a", "b"]


def test_a_message_may_say_whose_it_is() -> None:
    assert options("--message", "system: be short", "--message", "why: x?")["messages"] == [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "why: x?"},
    ]


def test_generation_options_have_json_values() -> None:
    given = options("-o", "do_sample=true", "-o", 'stop_strings=["a"]', "-o", "cache_implementation=static",
                    "--max-new-tokens", "3")  # fmt: skip
    assert given["generation"] == {
        "do_sample": True,
        "stop_strings": ["a"],
        "cache_implementation": "static",
        "max_new_tokens": 3,
    }


def test_all_other_options_are_passed_on() -> None:
    given = options("--seed", "0", "--dtype", "bfloat16", "--device", "cpu", "--attn", "eager", "--stop-on-entry",
                    "--no-stop-at-end", "--trust-remote-code")  # fmt: skip
    assert given == {
        "model": "model",
        "seed": 0,
        "dtype": "bfloat16",
        "device": "cpu",
        "attn_implementation": "eager",
        "stop_on_entry": True,
        "stop_at_end": False,
        "trust_remote_code": True,
    }


def test_a_script_that_cannot_be_read_is_said_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(tmp_path / "none")
    with pytest.raises(SystemExit, match=f"llm-dap: cannot read {missing}: No such file or directory"):
        main.run(["model", "--prompt", "a", "--script", missing])


def test_an_option_without_a_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        options("-o", "do_sample")
    assert "'do_sample' is not NAME=VALUE" in capsys.readouterr().err


def test_the_screen_keeps_our_lines_apart_from_the_text() -> None:
    paper = io.StringIO()
    screen = Screen(paper)
    screen.text("The")
    screen.show("stopped")
    screen.text(" end", is_running=True)
    screen.text(".\n")
    screen.text("printed\n", is_running=False)
    screen.progress("loading")  # pictures that move are for terminals
    screen.error("no\nsuch")
    assert paper.getvalue() == "The\nstopped\n… end.\nprinted\nerror: no such\n"
