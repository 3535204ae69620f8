"""What each layer would say, and what each part adds to a logit."""

from __future__ import annotations

from dap_server.engine.analysis.answers import Answers, chosen_token, tape_of
from dap_server.engine.analysis.attribution.direct import Attribution, attribution
from dap_server.engine.analysis.attribution.parts import Part
from dap_server.engine.analysis.lens.reader import Candidate, Column, Lens, LensReader, Question, Said
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import Frame, frame_of_step
from dap_server.engine.requests.numbers import finite
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.lens import (
    AttributionArguments,
    AttributionPart,
    AttributionResponseBody,
    LensArguments,
    LensCandidate,
    LensCell,
    LensColumn,
    LensLayer,
    LensResponseBody,
)
from dap_server.protocol.llm.tokens import Token
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/lens")
def lens(session: EngineSession, args: LensArguments) -> LensResponseBody:
    """What each layer would say next, at some positions of the frame's sequence."""
    frame = frame_of_step(_frame(session, args.frame_id, "llm/lens"), args.step)
    if args.layers is not None and not args.layers:
        raise InvalidArguments("'llm/lens': an empty list of layers: leave it out for all of them, at `$.layers`")
    debuggee = session.ready
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)

    def job() -> LensResponseBody:
        tape_of(frame)
        generation = frame.stop.generation
        reader = LensReader(generation, frame.step, frame.sequence, debuggee.anatomy, debuggee.stepper.stage)
        watch = None if args.watch is None else [answers.find(wanted, reader.width) for wanted in args.watch]
        question = Question(args.positions or (), args.layers, args.top, watch, args.exact)
        return _lens_body(reader.read(question), frame, answers, debuggee.vocabulary)

    return session.on_model_thread(job)


@requests.request(when=When.STOPPED, command="llm/attribution")
def attribution_(session: EngineSession, args: AttributionArguments) -> AttributionResponseBody:
    """What each part of the model added to the logit of a token."""
    frame = _frame(session, args.frame_id, "llm/attribution")
    debuggee = session.ready
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)

    def job() -> AttributionResponseBody:
        tape, generation = tape_of(frame), frame.stop.generation
        reader = LensReader(generation, frame.step, frame.sequence, debuggee.anatomy, debuggee.stepper.stage)
        step, index, position = reader.locate(args.position)
        token = None if args.token is None else answers.find(args.token, reader.width)
        if token is None and step == frame.step and args.position is None:
            token = chosen_token(frame)
        found = attribution(tape, step, debuggee.anatomy, frame.sequence, token, args.heads, index)
        return _attribution_body(found, position, answers)

    return session.on_model_thread(job)


def _frame(session: EngineSession, frame_id: int, command: str) -> Frame:
    frame = session.ready.references.frame(frame_id)
    if frame.kind == "label":
        raise InvalidArguments(f"'{command}': this frame is a heading, at `$.frameId`")
    return frame


def _lens_body(found: Lens, frame: Frame, answers: Answers, vocabulary: Vocabulary) -> LensResponseBody:
    ids = frame.stop.generation.input_ids

    def token(position: int | None) -> Token | None:
        known = ids is not None and position is not None and position < ids.shape[1]
        if not known or ids is None:
            return None
        id = int(ids[frame.sequence, position])
        return Token(id=id, text=vocabulary.text(id))

    return LensResponseBody(
        layers=[LensLayer(index=i, path=path) for i, path in zip(found.layers, found.paths, strict=True)],
        columns=[_column(column, token(column.position), answers) for column in found.columns],
    )


def _column(column: Column, token: Token | None, answers: Answers) -> LensColumn:
    return LensColumn(
        recomputed=column.is_recomputed,
        cells=[_cell(said, answers) for said in column.said],
        position=column.position,
        token=token,
        padding=column.is_padding,
    )


def _cell(said: Said, answers: Answers) -> LensCell:
    return LensCell(
        top=[_candidate(candidate, answers) for candidate in said.top],
        watched=[_candidate(candidate, answers) for candidate in said.watched],
        norm=finite(said.norm),
        update=finite(said.update),
        cosine=finite(said.cosine),
    )


def _candidate(candidate: Candidate, answers: Answers) -> LensCandidate:
    return LensCandidate(
        id=candidate.id,
        text=answers.text(candidate.id),
        rank=candidate.rank,
        probability=finite(candidate.probability),
        logit=finite(candidate.logit),
    )


def _attribution_body(found: Attribution, position: int, answers: Answers) -> AttributionResponseBody:
    return AttributionResponseBody(
        token=Token(id=found.token, text=answers.text(found.token)),
        position=position,
        logit=finite(found.logit),
        given=finite(found.given),
        total=finite(found.total),
        remainder=finite(found.remainder),
        parts=[_part(part) for part in found.parts],
    )


def _part(part: Part) -> AttributionPart:
    return AttributionPart(
        name=part.name,
        kind=part.kind,
        value=finite(part.value),
        rest=finite(part.rest) if part.children else None,
        parts=[_part(child) for child in part.children],
        note=part.note or None,
    )
