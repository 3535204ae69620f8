from __future__ import annotations

import pytest

from dap_server.conditions.errors import ConditionError
from dap_server.conditions.log_messages import parse_log_message

VALUES = {"step": 5, "text": " Paris", "prob": 0.4567, "norm": 12.5, "layer": None, "top": lambda k: [(" a", 0.5)] * k}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("nothing but text", "nothing but text"),
        ("step {step}", "step 5"),
        ("{text!r} {prob:.2%}", "' Paris' 45.67%"),
        ("{text!r:>10}|{norm:8.1f}", "  ' Paris'|    12.5"),
        ("{{step}} {{{step}}}", "{step} {5}"),
        ("{ {'a': step}['a'] } {len({1, 2})}", "5 2"),
        ("{'}' + text + '{'}", "} Paris{"),
        ('{"a!r:b"}', "a!r:b"),
        ("{step != 5} {step == 5}", "False True"),
        ("{text[1:3]}{[x for x in (1, 2)][0]:02}", "Pa01"),
        ("{step=} {text = } {norm=:.2f} {step + 1=}", "step=5 text = ' Paris' norm=12.50 step + 1=6"),
        ("{layer}", "None"),
        ("{(lambda x: x + step)(1)}", "6"),
        ("{', '.join(t for t, _ in top(2))}", " a,  a"),
        ("é {text}", "é  Paris"),
        ("{step if step > 3 else 0:>3}", "  5"),
        ("{text!s:.3}{text!a}", " Pa' Paris'"),
        ("{f'{step:03}'}", "005"),
        ("{step:}", "5"),
    ],
)
def test_expressions_are_replaced_by_their_values(message: str, text: str) -> None:
    assert parse_log_message(message).render(lambda condition: condition.value(VALUES)) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("«»", "a message is missing"),
        ("step «{»step", "never closed"),
        ("step «}»", "closes nothing"),
        ("step {«»}", "is missing"),
        ("é {«stp»}", "did you mean 'step'"),
        ("{step} and {text == «5»}", "write '5'"),
        ("{text«!x»}", "r, s or a"),
        ("{text«!»}", "r, s or a"),
        ("{norm:«.2q»}", "no format"),
        ("{text!r:«.2f»}", "no format of a text"),
        ("{norm:«999999999999»}", "wider than"),
        ("{norm:«{step»}}", "braces in a format"),
        ("{step «3»}", "does not fit here"),
        ("{step ==«» }", "its end is missing"),
        ("«{»'abc}", "never closed"),
    ],
)
def test_what_is_wrong_is_said_with_its_columns(text: str, says: str) -> None:
    start, end = text.index("«"), text.index("»") - 1
    typed = text.replace("«", "").replace("»", "")
    with pytest.raises(ConditionError) as caught:
        parse_log_message(typed)
    assert says in caught.value.message
    assert (caught.value.column, caught.value.end_column) == (start + 1, end + 1)


def test_what_all_its_expressions_use_is_known_together() -> None:
    message = parse_log_message("{step} {attention(2)[0]:.2f} {lens(1)}")
    assert message.names == {"step", "attention", "lens"}
    assert message.needs == {"attention"}
    assert message.is_per_sequence
    assert not parse_log_message("step {step}").is_per_sequence


def test_a_format_that_does_not_fit_its_value_is_blamed() -> None:
    with pytest.raises(ConditionError, match="ValueError: Unknown format code 'f'") as caught:
        parse_log_message("it is {text:.2f}").render(lambda condition: condition.value(VALUES))
    assert (caught.value.column, caught.value.end_column) == (8, 16)


def test_its_errors_say_that_they_are_about_the_message() -> None:
    with pytest.raises(ConditionError, match=r"\(column 4 of the log message\)"):
        parse_log_message("é {stp}")
    (condition,) = parse_log_message("step {1 / step}").conditions
    with pytest.raises(ZeroDivisionError) as caught:
        condition.value({"step": 0})
    assert str(condition.blame(caught.value)) == "ZeroDivisionError: division by zero (column 7 of the log message)"
