"""The Attribution scope of a frame: what each part of the model added to the logit of a token."""

from __future__ import annotations

from functools import partial

from dap_server.engine.analysis.answers import Answers, chosen_token, explained, is_about_layers, tape_of
from dap_server.engine.analysis.attribution.direct import CannotAttribute, attribution
from dap_server.engine.analysis.attribution.parts import Part
from dap_server.engine.analysis.lens.residuals import CannotRead
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows

LARGEST = 10


def attribution_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For the frames of layers and steps; found by running the step again, when it is opened."""
    if not is_about_layers(frame, anatomy):
        return None
    rows = explained(lambda: _rows(frame, anatomy, vocabulary), CannotRead, CannotAttribute)
    return Scope("Attribution", Rows(rows), expensive=True)


def _rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    found = attribution(tape_of(frame), frame.step, anatomy, frame.sequence, chosen_token(frame))
    capped = f", {found.given:.6g} after capping" if found.is_capped else ""
    terms = found.terms()
    return [
        Row("token", Answers(anatomy, vocabulary).quoted(found.token), "str"),
        Row("logit", f"{found.logit:.6g}{capped}", "float"),
        Row("largest", _line_of_largest(terms), children=Rows(lambda: _largest(terms))),
        *(_row(part) for part in found.parts),
        Row("remainder", f"{found.remainder:+.3g}", "float"),
    ]


def _largest(terms: list[Part]) -> list[Row]:
    return [Row(f"[{i}]", f"{term.value:+.4f}  {term.name}", "float") for i, term in enumerate(terms[:LARGEST])]


def _line_of_largest(terms: list[Part]) -> str:
    return ", ".join(f"{term.name} {term.value:+.2f}" for term in terms[:3])


def _row(part: Part) -> Row:
    note = f"  ({part.note})" if part.note else ""
    children = Rows(partial(_children, part)) if part.children else None
    return Row(part.name, f"{part.value:+.4f}{note}", "float", children)


def _children(part: Part) -> list[Row]:
    return [*(_row(child) for child in part.children), Row("remainder", f"{part.rest:+.3g}", "float")]
