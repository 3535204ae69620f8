"""The scopes Lens and Residual stream of a frame: what each layer would say next, and how it moves the stream."""

from __future__ import annotations

from dap_server.engine.analysis.answers import Answers, explained, is_about_layers, tape_of
from dap_server.engine.analysis.lens.forwards import capture
from dap_server.engine.analysis.lens.reader import LensReader, Question, Said
from dap_server.engine.analysis.lens.residuals import CannotRead, measured
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import Scope
from dap_server.engine.inspection.variables import Row, Rows

TOP = 5
EMBEDDING = "embedding"


def lens_scope(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> Scope | None:
    """For the frames of layers and steps; found by running the step again, when it is opened."""
    if not is_about_layers(frame, anatomy):
        return None
    return Scope("Lens", Rows(explained(lambda: _rows(frame, anatomy, vocabulary), CannotRead)), expensive=True)


def residual_scope(frame: Frame, anatomy: Anatomy, _vocabulary: Vocabulary) -> Scope | None:
    """For the same frames: norm and update of every layer, and its cosine to the last one."""
    if not is_about_layers(frame, anatomy):
        return None
    return Scope("Residual stream", Rows(explained(lambda: _residual_rows(frame, anatomy), CannotRead)), expensive=True)


def _rows(frame: Frame, anatomy: Anatomy, vocabulary: Vocabulary) -> list[Row]:
    answers = Answers(anatomy, vocabulary)
    found = LensReader(frame.stop.generation, frame.step, frame.sequence, anatomy).read(Question(top=TOP))
    (column,) = found.columns
    return [_row(path, said, answers) for path, said in zip(found.paths, column.said, strict=True)]


def _row(path: str, said: Said, answers: Answers) -> Row:
    (watched,), best = said.watched, said.top[0]
    line = (
        f"{answers.quoted(best.id)} {best.probability:.1%} · "
        f"{answers.quoted(watched.id)} rank {watched.rank}, {watched.probability:.2%}"
    )

    def children() -> list[Row]:
        top = [
            Row(f"[{i}]", f"{answers.quoted(one.id)}  id {one.id}  {one.probability:.6g}")
            for i, one in enumerate(said.top)
        ]
        return [*top, *_size_rows(said.norm, said.update, said.cosine)]

    return Row(path or EMBEDDING, line, children=Rows(children))


def _size_rows(norm: float, update: float, cosine: float) -> list[Row]:
    sizes = {"norm": norm, "update": update, "cosine to the last layer": cosine}
    return [Row(name, f"{value:.6g}", "float") for name, value in sizes.items()]


def _residual_rows(frame: Frame, anatomy: Anatomy) -> list[Row]:
    stream = capture(tape_of(frame), frame.step, anatomy)
    sizes = [kind[:, -1].tolist() for kind in measured(stream, min(frame.sequence, stream.sequences - 1))]
    return [
        Row(
            path or EMBEDDING,
            f"norm {norm:.4g} · update {update:.4g} · cosine {cosine:.4f}",
            children=Rows(lambda values=(norm, update, cosine): _size_rows(*values)),  # type: ignore[misc]  # bound now
        )
        for path, norm, update, cosine in zip(stream.paths, *sizes, strict=True)
    ]
