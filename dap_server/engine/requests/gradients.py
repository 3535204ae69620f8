"""Gradients of what the model says, and how much each token bears on it."""

from __future__ import annotations

from dap_server.engine.analysis.answers import Answers
from dap_server.engine.analysis.gradients.backward import (
    Gradients,
    Objective,
    Text,
    norm,
)
from dap_server.engine.analysis.gradients.rows import gradient_row, gradients_of, objective_of
from dap_server.engine.analysis.gradients.saliency import Saliency, saliency
from dap_server.engine.execution.breakpoints import why_never_called
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.tensors.text import dtype_name
from dap_server.engine.requests.numbers import finite
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm import gradients as messages
from dap_server.protocol.llm.tokens import Token
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/gradients")
def gradients(session: EngineSession, args: messages.GradientsArguments) -> messages.GradientsResponseBody:
    """Of one number, with respect to what goes into a module, comes out of it, or is held by it."""
    debuggee = session.ready
    frame = debuggee.references.frame(args.frame_id)
    path = frame.path if args.path is None else args.path
    if path is None:
        raise InvalidArguments("'llm/gradients': this frame has no module: name one at `$.path`")
    if problem := why_never_called(path, debuggee.anatomy):
        raise InvalidArguments(f"'llm/gradients': {problem} at `$.path`")

    def job() -> tuple[Gradients, Text]:
        objective = _objective(session, frame, args.of)
        parts = [part for part in args.with_respect_to if part != "parameters"]
        return gradients_of(frame, debuggee.anatomy, objective, path, parts, "parameters" in args.with_respect_to)

    found, text = session.on_model_thread(job)
    return _body(session, found, text, path)


def _body(session: EngineSession, found: Gradients, text: Text, path: str) -> messages.GradientsResponseBody:
    def rows() -> list[messages.GradientRow]:
        return [
            messages.GradientRow(
                name=name.removeprefix(f"{path} "),
                shape=list(tensor.shape),
                dtype=dtype_name(tensor.dtype),
                norm=None if gradient is None else finite(norm(gradient)),
                variables_reference=session.ready.references.add_children(gradient_row(name, gradient).children),
            )
            for name, (tensor, gradient) in found.tensors.items()
        ]

    return messages.GradientsResponseBody(
        value=finite(found.value),
        token=_token(session, found),
        recomputed=text.is_recomputed,
        losses=None if found.losses is None else [finite(loss) for loss in found.losses.tolist()],
        gradients=session.on_model_thread(rows),
    )


@requests.request(when=When.STOPPED, command="llm/saliency")
def saliency_(session: EngineSession, args: messages.SaliencyArguments) -> messages.SaliencyResponseBody:
    """Gradient times input, at the embeddings, for every token of the text."""
    debuggee = session.ready
    frame = debuggee.references.frame(args.frame_id)
    generation, vocabulary = frame.stop.generation, debuggee.vocabulary

    def job() -> messages.SaliencyResponseBody:
        objective = _objective(session, frame, args.of)
        found = saliency(debuggee.anatomy, generation, frame.step, frame.sequence, objective)
        return messages.SaliencyResponseBody(
            value=finite(found.value),
            token=_token(session, found),
            recomputed=found.is_recomputed,
            tokens=[
                messages.SaliencyToken(
                    position=token.position,
                    id=token.id,
                    text=None if token.id is None else vocabulary.text(token.id),
                    score=finite(token.score),
                    norm=finite(token.norm),
                    encoded=token.is_encoded,
                )
                for token in found.tokens
            ],
        )

    return session.on_model_thread(job)


def _objective(session: EngineSession, frame: Frame, of: messages.GradientObjective) -> Objective:
    default = objective_of(frame, session.ready.vocabulary)
    position = default.position if of.position is None else of.position
    if of.kind == "loss":
        return Objective("loss", None, position)
    if of.token is None:
        return Objective(of.kind, default.token if of.position is None else None, position)
    return Objective(of.kind, _answers(session).find(of.token), position)


def _answers(session: EngineSession) -> Answers:
    return Answers(session.ready.anatomy, session.ready.vocabulary)


def _token(session: EngineSession, found: Gradients | Saliency) -> Token | None:
    return None if found.token is None else Token(id=found.token, text=_answers(session).text(found.token))
