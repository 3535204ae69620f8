"""Our own requests: the texts of a breakpoint, checked and completed while somebody types."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pygls.exceptions import JsonRpcException

from dap_server.conditions.filters import FILTERS
from tests.language.client import MAP_URI, Editor
from tests.language.maps import ATLAS, line_of


def diagnose(editor: Editor, text: str, **fields: Any) -> tuple[list[tuple[str, str]], str | None]:
    """What is wrong, each with the piece of the text that it is about; and the phase."""
    answer = editor.ask("llm/conditionDiagnostics", text=text, **fields)
    units = text.encode("utf-16-le")
    found = [(units[2 * d.start : 2 * d.end].decode("utf-16-le"), d.message) for d in answer.diagnostics]
    return found, getattr(answer, "phase", None)


def on(place: str) -> dict[str, Any]:
    return {"uri": MAP_URI, "line": line_of(ATLAS, place)}


def test_a_right_condition_tells_its_phase(editor: Editor) -> None:
    assert diagnose(editor, "norm > 3", **on("model.layers.0")) == ([], "before")
    assert diagnose(editor, "hidden.norm() > 3", **on("model.layers.0")) == ([], "after")
    assert diagnose(editor, "norm > 3", phase="after", **on("model.layers.0")) == ([], "after")
    assert diagnose(editor, "prob < 0.5", **on("sample")) == ([], "after")


def test_a_misspelt_name_is_told_where_it_stands(editor: Editor) -> None:
    found, phase = diagnose(editor, "step > 3 and nrom > 1", **on("model.norm"))
    assert phase is None
    [(piece, message)] = found
    assert piece == "nrom"
    assert "norm" in message


def test_columns_are_those_of_javascript(editor: Editor) -> None:
    [(piece, _)], _ = diagnose(editor, "text == '😋' and nrom", path="sample")
    assert piece == "nrom"


def test_a_data_id_in_the_place_of_a_name_is_a_value(editor: Editor) -> None:
    assert diagnose(editor, "change > 0.1 and step > 2", path="parameter:model.norm.weight[3]")[0] == []
    [(piece, message)], _ = diagnose(editor, "norm > 3", path="cache:2.keys")
    assert piece == "norm"
    assert "data breakpoint" in message
    assert diagnose(editor, "change > 0.1", path="after:model.norm")[0], "a place has no such name"


def test_a_name_that_the_place_does_not_have_or_not_then_is_told(editor: Editor) -> None:
    [(piece, message)], _ = diagnose(editor, "token == 3", **on("model.norm"))
    assert piece == "token"
    assert "sample" in message
    [(piece, message)], _ = diagnose(editor, "output.max() > 3", phase="before", **on("model.norm"))
    assert piece == "output"
    assert "after" in message


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("model.layers.3.mlp", "module"),
        ("*.layers.*", "module"),
        ("LlamaMLP", None),  # only the model tells
        ("step", "step"),
        ("before:logits", "logits"),
        ("TemperatureLogitsWarper", "processor"),
        ("sample", "sample"),
        ("aten::softmax", "operation"),
        ("*.mlp/aten::silu", "operation"),
        ("*", "module"),
        ("no such: name", None),
    ],
)
def test_the_name_of_a_function_breakpoint_says_what_it_stands_on(editor: Editor, path: str, place: str | None) -> None:
    answer = editor.ask("llm/conditionDiagnostics", text="step > 0", path=path)
    assert answer.diagnostics == []
    assert getattr(answer, "place", None) == place


def test_a_prefix_asks_for_a_phase(editor: Editor) -> None:
    assert diagnose(editor, "step > 0", path="after:*.mlp") == ([], "after")
    assert diagnose(editor, "output.max() > 0", path="before:*.mlp")[0]


def test_a_line_that_is_no_place_stands_for_the_next_one(editor: Editor) -> None:
    """This is where a breakpoint on it moves to."""
    blank = ATLAS.splitlines().index("")
    assert editor.ask("llm/conditionDiagnostics", text="step > 0", uri=MAP_URI, line=blank).place == "step"
    after = editor.ask("llm/conditionDiagnostics", text="step > 0", uri=MAP_URI, line=9999)
    assert getattr(after, "place", None) is None


def test_without_a_place_any_will_do(editor: Editor) -> None:
    assert diagnose(editor, "token == 3") == ([], "after")
    assert diagnose(editor, "norm > 3") == ([], "before")


def test_hit_conditions_and_log_messages_are_read_too(editor: Editor) -> None:
    assert diagnose(editor, ">= 5", kind="hitCondition")[0] == []
    assert diagnose(editor, "sometimes", kind="hitCondition")[0]
    assert diagnose(editor, "token {token!r} {prob:.2%}", kind="logMessage", path="sample") == ([], "after")
    [(piece, _)], _ = diagnose(editor, "token {tokne}", kind="logMessage", path="sample")
    assert piece == "tokne"


def complete(editor: Editor, text: str, **fields: Any) -> dict[str, Any]:
    answer = editor.ask("llm/conditionCompletion", text=text, **{"column": len(text), **fields})
    return {item.label: item for item in answer.items}


def test_names_of_the_place_are_offered_with_what_they_mean(editor: Editor) -> None:
    names = complete(editor, "step > 3 and hi", **on("model.norm"))
    hidden = names["hidden"]
    assert (hidden.start, hidden.end) == (13, 15)
    assert hidden.detail == "hidden: Tensor (B, T, D)"
    assert hidden.documentation
    assert "hidden" not in complete(editor, "hi", **on("sample"))
    assert "token" in complete(editor, "", **on("sample"))
    assert "hidden" not in complete(editor, "hi", phase="before", **on("model.norm"))


def test_in_a_log_message_names_are_offered_inside_of_braces(editor: Editor) -> None:
    assert complete(editor, "tok", kind="logMessage", path="sample") == {}
    assert "token" in complete(editor, "😋 {tok", kind="logMessage", path="sample", column=7)


def test_half_of_an_emoji_is_a_text_too(editor: Editor) -> None:
    found, _ = diagnose_raw(editor, "text == '\ud83d' and nrom")
    assert found
    assert editor.ask("llm/conditionCompletion", text="\ud83d", column=1).items is not None


def diagnose_raw(editor: Editor, text: str) -> tuple[list[Any], Any]:
    answer = editor.ask("llm/conditionDiagnostics", text=text)
    return answer.diagnostics, answer


@pytest.mark.parametrize(
    ("method", "fields", "said"),
    [
        ("llm/conditionDiagnostics", {}, "text"),
        ("llm/conditionDiagnostics", {"text": 3}, "$.text"),
        ("llm/conditionDiagnostics", {"text": "x", "kind": "other"}, "$.kind"),
        ("llm/conditionDiagnostics", {"text": "x", "phase": "while"}, "$.phase"),
        ("llm/conditionCompletion", {"text": "x", "column": -1}, "$.column"),
        ("llm/regenerateMap", {"uri": "file:///not/open"}, "no open map"),
    ],
)
def test_wrong_arguments_are_an_error_that_names_the_field(
    editor: Editor, method: str, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(JsonRpcException, match=re.escape(said)):
        editor.ask(method, **fields)


def test_the_condition_of_a_filter_has_names_of_its_own(editor: Editor) -> None:
    assert diagnose(editor, "nans > 3", filter="nonFinite") == ([], "after")
    [(piece, message)], _ = diagnose(editor, "cuont > 3", filter="nonFinite")
    assert piece == "cuont"
    assert "'count'" in message
    [(piece, _)], _ = diagnose(editor, "growth > 3", filter="nonFinite")
    assert piece == "growth"
    assert editor.ask("llm/conditionDiagnostics", text="count > 3", filter="nonFinite").place == "nonFinite"


def test_an_empty_condition_of_a_filter_is_offered_the_filters_own(editor: Editor) -> None:
    first, *others = editor.ask("llm/conditionCompletion", text="", filter="residual").items
    assert (first.label, first.kind, first.start, first.end) == (FILTERS["residual"].condition, "threshold", 0, 0)
    assert "growth" in {item.label for item in others}
    assert "threshold" not in {
        item.kind for item in editor.ask("llm/conditionCompletion", text="g", filter="residual").items
    }
