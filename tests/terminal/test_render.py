import io

from rich.console import Console, RenderableType

from dap_server.protocol.events import StoppedEventBody
from dap_server.protocol.types import Breakpoint, Scope, Source, StackFrame, Thread, Variable
from dap_server.terminal import render, tokens


def printed(renderable: RenderableType, width: int = 80) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False, markup=False).print(renderable)
    return [line.rstrip() for line in file.getvalue().splitlines()]


def frame(name: str, hint: str | None = None, line: int = 0) -> StackFrame:
    source = Source(name="modeling_llama.py") if line else None
    return StackFrame(id=1, name=name, line=line, column=0, source=source, presentation_hint=hint)  # type: ignore[arg-type]


def row(name: str, value: str) -> Variable:
    return Variable(name=name, value=value, variables_reference=0)


STACK = [
    frame("model.layers.3 (before)", line=284),
    frame("LlamaDecoderLayer.forward", line=290),
    frame("step 2"),
    frame("history", "label"),
    frame("model.layers.2 (done)", "subtle", line=284),
]
PROMPT = [row("[0]", "'<s>'  id 1"), row("[1]", "'The'  id 285"), row("[2]", "' end'  id 9")]
MADE = [row("[3]", "'.'  id 5  step 0  99.5%"), row("[4]", r"'\n'  id 7  step 1  12.0%")]


def stop_line(reason: str, *, hits: list[int] | None = None, frames: list[StackFrame] = STACK, **more: str) -> str:
    stopped = StoppedEventBody(reason=reason, hit_breakpoint_ids=hits, **more)  # type: ignore[arg-type]
    return str(render.stop_line(stopped, frames, {7: "*.layers.3"}))


def test_the_stop_line_says_where_in_which_step_and_why() -> None:
    assert stop_line("function breakpoint", hits=[7]) == (
        "stopped before model.layers.3 · step 2 · function breakpoint *.layers.3"
    )


def test_a_step_needs_no_reason() -> None:
    assert stop_line("step", description="step: before model.layers.3 in step 2") == (
        "stopped before model.layers.3 · step 2"
    )


def test_the_place_is_not_said_twice() -> None:
    line = stop_line(
        "pause", description="pause: step 2", text="step 2", frames=[frame("step 2"), frame("step 1  'a'")]
    )
    assert line == "stopped at step 2 · pause"


def test_the_end_of_a_generation_is_told_from_a_pause() -> None:
    end = [frame("step 5 (end of the generation)"), frame("step 4  'a'  99%", "subtle")]
    line = stop_line("pause", description="generation finished", text="end of the generation", frames=end)
    assert line == "stopped at step 5 (end of the generation) · generation finished"


def test_an_exception_has_its_text() -> None:
    line = stop_line("exception", description="non-finite", text="3 NaN in hidden_states")
    assert line.endswith(" · non-finite: 3 NaN in hidden_states")


def test_a_condition_that_raised_is_told_rather_than_its_breakpoint() -> None:
    line = stop_line("exception", description="the condition 'norm' raised: E", text="E", hits=[7])
    assert line.endswith(" · the condition 'norm' raised: E")


def test_the_stack_marks_the_selected_frame_and_parts_the_history() -> None:
    assert printed(render.stack(STACK, 1, more=True)) == [
        "  0 model.layers.3 (before)   modeling_llama.py:284",
        "▸ 1 LlamaDecoderLayer.forward modeling_llama.py:290",
        "  2 step 2",
        "    ── history ──",
        "  4 model.layers.2 (done)     modeling_llama.py:284",
        "    … more: stack all",
    ]


def test_variables_are_aligned_one_line_each() -> None:
    rows = [row("input", "float32 [1, 6]"), row("mask", "None\nof\nall"), row("long", "x" * 100)]
    assert printed(render.rows("Inputs", rows, "… 3 more"), width=40) == [
        "Inputs",
        "├── input  float32 [1, 6]",
        "├── mask   None of all",
        "├── long   " + "x" * 28 + "…",
        "└── … 3 more",
    ]


def test_a_closed_scope_says_how_to_open_it() -> None:
    scope = Scope(name="Tokens", variables_reference=3, expensive=False, indexed_variables=40)
    assert printed(render.closed_scope(scope)) == ["Tokens  40 rows  (v Tokens)"]


def test_breakpoints_are_numbered_and_say_what_is_wrong() -> None:
    states = [
        Breakpoint(verified=True),
        Breakpoint(verified=False, message="no module matches"),
        Breakpoint(verified=False, reason="pending"),
    ]
    assert printed(render.breakpoints(["sample", "layer", "x"], states)) == [
        "1  sample",
        "2  layer  not set  no module matches",
        "3  x  waits for the model",
    ]
    assert printed(render.breakpoints([], [])) == ["no breakpoints"]


def test_the_thread_that_is_looked_at_is_marked() -> None:
    assert printed(render.threads([Thread(id=1, name="a"), Thread(id=2, name="b")], 2)) == ["  1  a", "▸ 2  b"]


def test_an_error_is_one_line() -> None:
    assert str(render.error("two\n  lines")) == "error: two lines"
    wire = "'llm/attention': 'model.layers' is a list of modules: name one of them, at `$.layer`"
    assert str(render.error(wire)) == "error: 'model.layers' is a list of modules: name one of them"


def test_a_row_of_the_tokens_scope_is_taken_apart() -> None:
    assert tokens.parse(MADE[1]) == tokens.Token("4", "\n", "7", 1, "12.0%", False)
    assert tokens.parse(row("[0]", "'<pad>'  id 0  padding")).is_padding
    assert tokens.parse(row("[0]", '"it\'s  id 3"  id 4')).text == "it's  id 3"
    assert tokens.parse(row("[0]", "of another adapter")).text == "of another adapter"


def test_the_text_is_cut_where_tokens_meet_and_ends_where_the_model_is() -> None:
    parsed = [tokens.parse(token) for token in PROMPT]
    assert printed(tokens.text_view(parsed, "before sample")) == ["text  <s>│The│ end│▸ before sample"]
    parsed += [tokens.parse(token) for token in MADE]
    assert printed(tokens.text_view(parsed, "at step 2", hidden=1200)) == [
        "prompt  … 1,200 tokens … <s>│The│ end│",
        "made    .│⏎│▸ at step 2",
    ]


def test_the_token_table_has_ids_and_probabilities() -> None:
    assert printed(tokens.table_view([tokens.parse(token) for token in (*PROMPT[:1], *MADE)])) == [
        "0  '<s>'  1  prompt",
        "3  '.'    5  step 0  99.5%",
        "4  '\\n'   7  step 1  12.0%",
    ]
