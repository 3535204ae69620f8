"""Conditions: what they mean, and what is said of those that are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from dap_server.conditions.errors import ConditionError
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.names import NAMES


def _marked(text: str) -> tuple[str, int, int]:
    """The text without its two «», and the columns between them."""
    start, end = text.index("«"), text.index("»") - 1
    return text.replace("«", "").replace("»", ""), start + 1, end + 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("«tokn» == 3", "no name 'tokn' here; did you mean 'token'"),
        ("step == 3 and «entrpy» > 2", "did you mean 'entropy'"),
        ("«model».config", "not the model"),
        ("«print»(norm)", "log messages"),
        ("step == «true»", "write 'True'"),
        ("«open»('file')", "no name 'open'"),
        ("«__import__»('os')", "no name '__import__'"),
        ("token «=» ' Paris'", "write text == ' Paris'"),
        ("token == «' Paris'»", "write text == ' Paris'"),
        ("token in («' a'», 5)", "write text == ' a'"),
        ("step == «'3'»", "write 3"),
        ("text == «5»", "write '5'"),
        ("phase == «'befor'»", "'before' or 'after'"),
        ("step «=» 3", "write '=='"),
        ("any([step «=» 3])", "write '=='"),
        ("(step «=» 3)", "write '=='"),
        ("step == 3 «&&» layer == 2", "write 'and'"),
        ("step == 3 «||» layer == 2", "write 'or'"),
        ("«!»step", "write 'not'"),
        ("step «===» 3", "write '=='"),
        ("step «<>» 3", "write '!='"),
        ("step «=>» 3", "write '>='"),
        ("step == 3«;» layer == 2", "one expression"),
        ("step == 3 «?» 1 : 2", "if condition else"),
        ("«(»step == 3", "never closed"),
        ("step == 3«)»", "closes nothing"),
        ("(step == 3«]»", "does not close the '(' of column 1"),
        ("text == «' Paris»", "does not end: a ' is missing"),
        ("text == «“»Paris”", 'write "'),
        ("«if» step == 3", "leave 'if' away"),
        ("«import» os", "begins a statement"),
        ("(«step := 3»)", "nothing can be assigned"),
        ("step «:=» 3", "nothing can be assigned"),
        ("«await step»", "'await'"),
        ("(«yield»)", "'yield'"),
        ("«attention» > 2", "write attention(0)"),
        ("«attention[2]»[0] > 0.9", "write attention(2)"),
        ("«attention()»", "none is given"),
        ("«attention(1, 2)»", "2 are given"),
        ("attention(hed=«1»)", "no argument 'hed'"),
        ("attention(«-1»)", "from 0"),
        ("lens(«0»)", "from 1"),
        ("top(«'a'»)", "whole number"),
        ("«entropy»() > 4", "no function"),
        ("«output.__class__»", "leave it away"),
        ("step is «'x'»", "write '=='"),
        ("text == 'a' or «'b'»", "compare each one"),
        ("«step == 3 & layer == 2»", "bind stronger"),
        ("text == '«\\d»'", "for a backslash"),
        ("1«if» step else 2", "a space before 'if'"),
        ("prob > «90»", "write 0.9"),
        ("«lens(1)» == ' Paris'", "write ' Paris' in lens(1)"),
        ("' Paris' in «top(3)»", "any(t == ' Paris' for t, p in top(3))"),
        ("«attention(2) > 0.9»", "attention(2)[0] > 0.9"),
        ("step == 3 and «probs > 0.5»", "write (probs > 0.5).any()"),
        ("not «hidden»", "neither true nor false"),
        ("step == 3 or «-logits * 2 < 1»", "(-logits * 2 < 1).all()"),
        ("«top(3)»", "always true"),
        ("«5»", "always True: compare something with it, or make it the hit condition"),
        ("«''»", "always False"),
        ("«5»(3)", "cannot be called"),
        ("«5[3]»", "no such elements"),
        ("step ==«»", "its end is missing"),
        ("«»", "is missing"),
        ("step == 3 and«»", "its end is missing"),
        ("step > 3 and «3»", "compare each one"),
        ("step «3»", "does not fit here"),
        ("step == «==» 3", "does not fit here"),
        ("text == 'é' and «tokn»", "did you mean 'token'"),
        ("   «tokn»", "did you mean 'token'"),
        ("text == '𝔸中' and «tokn» == 3", "did you mean 'token'"),
        ("(step\n== «tokn»)", "did you mean 'token'"),
        ("step == «\0»", "U+0000"),
        ("text == '«\ud800»'", "U+D800"),
    ],
)
def test_what_is_wrong_is_said_with_its_columns(text: str, says: str) -> None:
    typed, column, end_column = _marked(text)
    with pytest.raises(ConditionError) as caught:
        parse_condition(typed)
    error = caught.value
    assert says in error.message
    assert (error.column, error.end_column, error.text) == (column, end_column, typed)
    assert str(error) == f"{error.message} (column {column})"


@pytest.mark.parametrize(
    "text",
    [
        "-" * 3_000 + "1",
        "(" * 300 + ")" * 300,
        "step" + ".real" * 700,
        "step" + "+1" * 1_900,
        "not " * 900 + "step",
        "[" * 90 + "]" * 90 + " or " + "lambda: " * 400 + "1",
    ],
)
def test_what_is_nested_too_deep_is_an_error_of_the_text(text: str) -> None:
    with pytest.raises(ConditionError):
        parse_condition(text)


def test_an_endless_text_is_not_read() -> None:
    with pytest.raises(ConditionError, match="too long: 1,000,009 characters"):
        parse_condition("step == 3" + " " * 1_000_000)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("step == 5 and layer == 3", {"step", "layer"}),
        ("any(token > 3 for token in [step])", {"step"}),
        ("(lambda norm: norm + step)(2)", {"step"}),
        ("[step for step in range(3)] and step", {"step"}),
        ("{text: prob for text, prob in top(3)}", {"top"}),
        ("torch.isnan(output).any()", {"torch", "output"}),
        ("attention(head=2)[0] > 0.9", {"attention"}),
        ("' Paris' in lens(5)", {"lens"}),
        ("f'{token}' == '5'", {"token"}),
        ("output.norm() > 3 and True", {"output"}),
        ("attention(*[3])[0] > 1", {"attention"}),
        ("True", set()),
        ("(probs > 0.5).any() and attention(1).argmax() == 0", {"probs", "attention"}),
        ("output > 3", {"output"}),
    ],
)
def test_only_names_of_the_place_are_its_names(text: str, names: set[str]) -> None:
    assert parse_condition(text).names == names


class _Asked(Mapping[str, object]):
    def __init__(self, values: Mapping[str, object]) -> None:
        self._values, self.asked = values, list[str]()

    def __getitem__(self, name: str) -> object:
        self.asked.append(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("step == 5", True),
        ("norm > 100 or layer in (1, 2)", True),
        ("text == ' Paris'", True),
        ("any(p > 0.5 and text == ' Paris' for _, p in top(2))", True),
        ("(lambda k: [top(k)[i][0] for i in range(step - 4)])(1)", [" Paris"]),
        ("[x + step for x in [step] if x == step]", [10]),
        ("math.floor(norm) + min(step, 3)", 15),
        (r"re.search(r'\bParis\b', text)[0]", "Paris"),
        ("(  step\n  + 1)", 6),
        ("{'a': step}['a'] if layer else None", 5),
        ("f'{step:03}'", "005"),
        ("input", "what was given"),
        ("sum(step for _ in range(2) for _ in range(step))", 50),
    ],
)
def test_the_value_is_what_python_says(text: str, value: object) -> None:
    names = {"step": 5, "layer": 2, "norm": 12.5, "text": " Paris", "input": "what was given"}
    assert parse_condition(text).value({**names, "top": lambda k: [(" Paris", 0.7), (" Rome", 0.1)][:k]}) == value


def test_a_value_that_is_not_needed_is_not_asked_for() -> None:
    values = _Asked({"step": 4, "norm": 7.0})
    condition = parse_condition("step == 5 and norm > 100")
    assert condition.value(values) is False
    assert values.asked == ["step"]


def test_builtins_are_those_of_the_table() -> None:
    with pytest.raises(ConditionError, match="no name 'getattr'"):
        parse_condition("getattr(step, 'real')")
    assert parse_condition("max(1, step)").value({"step": 2}) == 2


def test_what_is_raised_is_blamed_on_its_part_of_the_text() -> None:
    text = " 'é' == text or step / (layer - 2) > 1"
    condition = parse_condition(text)
    with pytest.raises(ZeroDivisionError) as caught:
        condition.value({"text": "", "step": 1, "layer": 2})
    blamed = condition.blame(caught.value)
    assert text[blamed.column - 1 : blamed.end_column - 1] == "step / (layer - 2)"
    assert blamed.message == "ZeroDivisionError: division by zero"


def test_what_a_name_raises_is_blamed_on_the_name() -> None:
    def attention(head: int) -> list[float]:
        raise RuntimeError(f"there is no head {head}")

    text = "step > 0 and [attention(h)[0] for h in (8, 9)]"
    condition = parse_condition(text)
    with pytest.raises(RuntimeError) as caught:
        condition.value({"step": 1, "attention": attention})
    blamed = condition.blame(caught.value)
    assert text[blamed.column - 1 : blamed.end_column - 1] == "attention(h)"
    assert blamed.message == "RuntimeError: there is no head 8"


def test_a_layer_that_is_none_is_told() -> None:
    condition = parse_condition("layer > 3")
    with pytest.raises(TypeError) as caught:
        condition.value({"layer": None})
    assert condition.blame(caught.value).message.endswith(
        "`layer` is None outside of the layers: write layer is not None and …"
    )


def test_an_error_that_cannot_say_what_it_is_is_named() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert parse_condition("step").blame(Odd()).message == "Odd"
    assert parse_condition("step").blame(ValueError("a\n  b" + "c" * 600)).message == f"ValueError: a b{'c' * 497}…"


def test_an_error_of_elsewhere_is_blamed_on_the_whole() -> None:
    blamed = parse_condition("  step == 5 ").blame(ValueError("odd"))
    assert (blamed.column, blamed.end_column) == (3, 12)


@pytest.mark.parametrize(
    ("text", "is_per_sequence", "needs"),
    [
        ("step == 3", False, set()),
        ("output.abs().max() > 5", False, set()),
        ("norm > 5", True, set()),
        ("text == ' a' and sequence == 1", True, set()),
        ("attention(1)[0] > 0.5 and lens(1)[0] == text", True, {"attention"}),
        ("residual.norm() > 5", False, set()),
    ],
)
def test_what_the_engine_listens_for(text: str, is_per_sequence: bool, needs: set[str]) -> None:
    condition = parse_condition(text)
    assert condition.is_per_sequence is is_per_sequence
    assert condition.needs == needs


def test_every_name_says_what_it_is_in_a_line() -> None:
    for name in NAMES.values():
        assert name.signature.startswith(name.name)
        assert 0 < len(name.documentation) < 100
        assert "\n" not in name.documentation
        assert name.where
