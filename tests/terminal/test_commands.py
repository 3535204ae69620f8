"""Commands against an adapter that the test plays: what they ask, and what they print."""

from typing import Any

import pytest

from dap_server.protocol.errors import Cancelled, RequestError
from dap_server.terminal import script
from dap_server.terminal.commands import table
from tests.terminal.fake_adapter import Unanswered
from tests.terminal.stage import Stage


def test_the_first_stop_is_shown_below_the_text_so_far(stage: Stage) -> None:
    stage.debugger.start(["*.layers.3"], {"model": "m", "prompt": "p"})
    assert stage.paper.getvalue() == "The\nstopped before model.layers.3 · step 0 (prefill)\n"


@pytest.mark.parametrize(
    ("line", "command", "arguments"),
    [
        ("n", "next", {"threadId": 1}),
        ("step", "stepIn", {"threadId": 1}),
        ("s mlp", "stepIn", {"threadId": 1, "targetId": 4}),
        ("out", "stepOut", {"threadId": 1}),
        ("c", "continue", {"threadId": 1}),
        ("back", "stepBack", {"threadId": 1}),
        ("rn", "stepBack", {"threadId": 1}),
        ("rs", "llm/reverseStepIn", {"threadId": 1}),
        ("rout", "llm/reverseStepOut", {"threadId": 1}),
        ("rc", "reverseContinue", {"threadId": 1}),
        ("rf", "restartFrame", {"frameId": 10}),
        ("goto 3", "llm/runToStep", {"step": 3}),
        ("goto 3 after", "llm/runToStep", {"step": 3, "phase": "after"}),
        ("goto 0 model.norm", "llm/runToStep", {"step": 0, "path": "model.norm"}),
        ("goto 12 sample after", "llm/runToStep", {"step": 12, "path": "sample", "phase": "after"}),
        ("b sample", "setFunctionBreakpoints", {"breakpoints": [{"name": "*.layers.3"}, {"name": "sample"}]}),
        ("delete 1", "setFunctionBreakpoints", {"breakpoints": []}),
        ("p x + 1", "evaluate", {"expression": "x + 1", "frameId": 10, "context": "repl"}),
        ("x + 1", "evaluate", {"expression": "x + 1", "frameId": 10, "context": "repl"}),
        ("n = 3", "evaluate", {"expression": "n = 3", "frameId": 10, "context": "repl"}),
        ("restart 'Some text'", "restart", {"arguments": {"model": "m", "prompt": "Some text"}}),
        ("tensor big", "llm/tensor", {"variablesReference": 9, "maxCells": 8, "slices": []}),
        ("tensor big 0 : 2:4", "llm/tensor", {"variablesReference": 9, "maxCells": 8, "slices": [0, None, [2, 4]]}),
        ("copy big", "llm/tensorLiteral", {"variablesReference": 9}),
        ("copy big numpy", "llm/tensorLiteral", {"variablesReference": 9, "library": "numpy"}),
        ("save big /a.npy", "llm/saveTensor", {"variablesReference": 9, "path": "/a.npy"}),
        ("save! big /a.npy", "llm/saveTensor", {"variablesReference": 9, "path": "/a.npy", "overwrite": True}),
        ("hexdump big 32", "readMemory", {"memoryReference": "tensor-1", "count": 32, "offset": 0}),
        ("restart", "restart", {"arguments": {"model": "m", "prompt": "p"}}),
    ],
)
def test_a_line_becomes_a_request(stopped: Stage, line: str, command: str, arguments: dict[str, Any]) -> None:
    stopped.play(line)
    assert stopped.fake.arguments_of(command) == arguments


def test_saliency_is_shown_with_shades_and_bars(stopped: Stage) -> None:
    tokens = [
        {"position": 0, "id": 5, "text": "The", "score": -0.5, "norm": 1.0},
        {"position": 1, "id": 6, "text": " capital\n", "score": 1.0, "norm": 2.0},
    ]
    body = {"value": 3.25, "recomputed": True, "token": {"id": 9, "text": " Paris"}, "tokens": tokens}
    stopped.fake.on("llm/saliency", lambda _: body)
    title, how, _, text, _, *bars = stopped.play("saliency ' Rome'")
    assert title == "gradient × input for the logit of ' Paris' = 3.25"
    assert how.startswith("recomputed")
    assert text == "The capital⏎"
    assert bars == ["0  'The'        -0.500  ████████████", "1  ' capital⏎'  +1.000  ████████████████████████"]
    assert stopped.fake.arguments_of("llm/saliency") == {"frameId": 10, "of": {"token": "' Rome'"}}
    stopped.fake.on("llm/saliency", lambda _: {"recomputed": True, "tokens": [{"position": 0, "id": 5}]})
    shown = stopped.play("saliency")
    assert (shown[0][-12:], shown[-1].split()[-2:]) == ("= not finite", ["finite", "·"])
    stopped.play("saliency 42", "saliency loss")
    assert stopped.fake.arguments_of("llm/saliency") == {"frameId": 10, "of": {"kind": "loss"}}


def test_text_goes_on_where_a_stop_cut_it(stopped: Stage) -> None:
    assert stopped.play("continue") == ["… end", "the model's process has ended"]
    assert stopped.debugger.is_over


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("nothing", "error: NameError: name 'nothing' is not defined"),
        ("goto", "error: a step is missing: goto 3, goto 3 model.layers.2 or goto 3 sample after"),
        ("goto x", "error: 'x' is no place: goto 3, goto 3 model.layers.2 or goto 3 sample after"),
        ("goto 1 2 3", "error: '1 2 3' is no place: goto 3, goto 3 model.layers.2 or goto 3 sample after"),
        ("step attn", "error: no submodule 'attn' to step into; there are mlp"),
        ("frame 9", "error: there are frames 0 to 3"),
        ("frame x", "error: 'x' is no frame: give a number of the stack"),
        ("b", "error: a name is missing: break *.layers.3"),
        ("b sample if step > 3", "error: 'break NAME if CONDITION' is not supported by this adapter"),
        ("delete 7", "error: no breakpoint '7': 'breakpoints' lists them, 'delete all' removes all"),
        ("sequence 3", "error: no sequence '3': there are 1, 2"),
        ("down", "error: this is the innermost frame"),
        ("help contineu", "error: no command 'contineu'; did you mean 'continue'?"),
        ("tensor", "error: a name is missing: tensor Inputs.hidden_states 0 : 0:8"),
        ("tensor other", "error: 'other' is no tensor: value of other"),
        ("save output", "error: a name and a path are needed: save output layer3.safetensors"),
        ("hexdump", "error: a name is missing: hexdump Inputs.hidden_states 64"),
        ("hexdump other", "error: 'other' has no bytes to show: it is no tensor, or has no values"),
        ("where", "error: no text is known in this frame"),
        ("next 3", "error: 'next' stands alone: '3' is not understood"),
    ],
)
def test_an_error_is_one_line_and_the_session_goes_on(stopped: Stage, line: str, text: str) -> None:
    assert stopped.play(line) == [text]
    assert stopped.debugger.is_stopped


def test_a_command_that_the_adapter_does_not_support_says_so(stopped: Stage) -> None:
    capabilities = stopped.fake.client.capabilities
    capabilities.supports_restart_request = capabilities.supports_step_back = capabilities.supports_restart_frame = None
    for line in ("restart", "back", "rstep", "rout", "rcontinue", "goto", "restart-frame"):
        assert stopped.play(line) == [f"error: '{line}' is not supported by this adapter"]


def test_a_resume_that_is_refused_leaves_everything_as_it_was(stopped: Stage) -> None:
    def refuse(_: object) -> None:
        raise RequestError("not now")

    stopped.fake.on("next", refuse)
    assert stopped.play("next", "frame") == ["error: not now", "▸ 0 model.layers.3 (before)"]


def test_a_move_back_that_is_refused_leaves_everything_as_it_was(stopped: Stage) -> None:
    def refuse(_: object) -> None:
        raise RequestError("nothing lies before it")

    stopped.fake.on("stepBack", refuse)
    assert stopped.play("back", "frame") == ["error: nothing lies before it", "▸ 0 model.layers.3 (before)"]


def test_a_frame_below_is_restarted_where_it_is_looked_at(stopped: Stage) -> None:
    stopped.play("up", "rf")
    assert stopped.fake.arguments_of("restartFrame") == {"frameId": 11}


def test_ctrl_c_cancels_a_search_in_the_past(stopped: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def search(_: object) -> None:
        raise Unanswered

    def interrupted(*_: object, **__: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    def cancel(_: object) -> None:
        stopped.fake.connection.respond_error(stopped.fake.unanswered.pop(), Cancelled())

    stopped.fake.on("reverseContinue", search).on("cancel", cancel)
    monkeypatch.setattr(stopped.fake.client, "take", interrupted)
    assert stopped.play("rc", "frame") == ["error: cancelled", "▸ 0 model.layers.3 (before)"]
    assert stopped.fake.arguments_of("cancel")["requestId"] > 0


def test_up_and_down_walk_the_stack_and_skip_labels(stopped: Stage) -> None:
    assert stopped.play("up", "up", "p x", "down") == [
        "▸ 1 step 0 (prefill)",
        "▸ 3 prompt  'The'  1 tokens",
        "value of x",
        "▸ 1 step 0 (prefill)",
    ]
    assert stopped.fake.arguments_of("evaluate")["frameId"] == 13


def test_variables_open_by_scope_and_by_name(stopped: Stage) -> None:
    assert stopped.play("v", "v Inputs.x", "v other") == [
        *("Inputs", "└── x  [1, 6]"),
        "Inputs.x  [1, 6]",
        "other  value of other",
    ]


def test_a_page_of_a_tensor_fits_on_the_screen_and_says_what_was_left_out(stopped: Stage) -> None:
    head, indexes, row, note = stopped.play("tensor big")
    assert head == "big  float32 [2, 3, 40] cpu  batch 1"
    assert indexes.split() == [f"[{i}]" for i in range(0, 40, 5)]
    assert row.split() == ["[2]", "'", "is'", *map(str, range(8))]
    assert note == "rows position, columns feature; each number is the one farthest from 0 of 1 × 5"


def test_bytes_are_shown_with_their_offset_and_text(stopped: Stage) -> None:
    assert stopped.play("hexdump big") == [f"00000010  {'68 65 6c 6c 6f':<47}  hello"]


def test_after_the_end_commands_say_that_it_is_over(stopped: Stage) -> None:
    assert stopped.play("c", "next")[-1] == "error: the session has ended"


def test_a_script_knows_whether_all_of_it_could_be_done(stopped: Stage) -> None:
    assert script.play(stopped.debugger, ["# a remark", "", "next", "quit", "never done"])
    assert not script.play(stopped.debugger, ["nothing", "next"])


def test_the_rest_of_a_run_passes_every_breakpoint(stopped: Stage) -> None:
    script.run_to_end(stopped.debugger)
    assert stopped.fake.arguments_of("setFunctionBreakpoints") == {"breakpoints": []}
    assert stopped.debugger.is_over


def test_an_adapter_that_goes_away_ends_the_session_with_its_reason(stopped: Stage) -> None:
    stopped.fake.on("next", lambda _: stopped.fake.connection.close())
    assert stopped.play("next")[-1] == "error: the adapter has gone"
    assert stopped.debugger.is_over


def test_a_breakpoint_that_fails_when_the_model_is_there_is_told(stopped: Stage) -> None:
    stopped.play("b nowhere")
    changed = {"id": 2, "verified": False, "message": "no module matches 'nowhere'"}
    stopped.fake.event("breakpoint", reason="changed", breakpoint=changed)
    assert "breakpoint nowhere: no module matches 'nowhere'" in stopped.play("next")
    assert stopped.play("breakpoints") == ["1  *.layers.3", "2  nowhere  not set  no module matches 'nowhere'"]


def test_every_command_is_in_the_help(stopped: Stage) -> None:
    text = "\n".join(stopped.play("help"))
    for command in table.COMMANDS.values():
        assert f"  {command.name} " in text
    assert text.endswith("Anything else is Python in the frame that you look at.")
