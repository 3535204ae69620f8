"""The Result scope at the end of a forward: what a model that does not generate says."""

from __future__ import annotations

from dap_server.engine.execution.answers import Answer, Choice
from dap_server.engine.inspection.variables import Row, Rows


def answer_rows(answers: list[Answer]) -> list[Row]:
    """One row per mask, label or value, opening to the most likely choices."""
    return [_row(answer) for answer in answers]


def _row(answer: Answer) -> Row:
    best, at = answer.choices[0], "" if answer.position is None else f" · position {answer.position}"
    value = f"{best.value:.9g}" if answer.name == "value" else f"{best.text}  {best.value:.2%}{at}"
    return Row(answer.name, value, children=Rows(lambda: [_choice(i, c) for i, c in enumerate(answer.choices)]))


def _choice(index: int, choice: Choice) -> Row:
    return Row(f"[{index}]", f"{choice.text}  id {choice.id}  {choice.value:.9g}")
