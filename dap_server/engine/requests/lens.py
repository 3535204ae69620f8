"""What each layer would say, and what each part adds to a logit."""

from __future__ import annotations

import math

from dap_server.engine.analysis.answers import Answers, chosen_token, tape_of
from dap_server.engine.analysis.attribution.direct import Attribution, attribution
from dap_server.engine.analysis.attribution.parts import Part
from dap_server.engine.analysis.lens.reader import Candidate, Column, Lens, LensReader, Question, Said
from dap_server.engine.inspection.frames import Frame
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
from dap_server.wire.handlers import When

MAX_TOP = 100


@requests.request(when=When.STOPPED, command="llm/lens")
def lens(session: EngineSession, args: LensArguments) -> LensResponseBody:
    """What each layer would say next, at some positions of the frame's sequence."""
    frame = _frame(session, args.frame_id, "llm/lens")
    if not 0 <= args.top <= MAX_TOP:
        raise InvalidArguments(f"'llm/lens': top is 0 to {MAX_TOP} at `$.top`")
    debuggee = session.ready
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)

    def job() -> LensResponseBody:
        tape_of(frame)
        generation = frame.stop.generation
        reader = LensReader(generation, frame.step, frame.sequence, debuggee.anatomy, debuggee.stepper.stage)
        watch = None if args.watch is None else [answers.find(wanted, reader.width) for wanted in args.watch]
        question = Question(args.positions or (), args.layers, args.top, watch, args.exact)
        return _lens_body(reader.read(question), frame, answers)

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


def _lens_body(found: Lens, frame: Frame, answers: Answers) -> LensResponseBody:
    ids = frame.stop.generation.input_ids

    def token(position: int | None) -> str | None:
        known = ids is not None and position is not None and position < ids.shape[1]
        return answers.token(int(ids[frame.sequence, position])) if known and ids is not None else None

    return LensResponseBody(
        layers=[LensLayer(index=i, path=path) for i, path in zip(found.layers, found.paths, strict=True)],
        columns=[_column(column, token(column.position), answers) for column in found.columns],
    )


def _column(column: Column, token: str | None, answers: Answers) -> LensColumn:
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
        norm=_finite(said.norm),
        update=_finite(said.update),
        cosine=_finite(said.cosine),
    )


def _candidate(candidate: Candidate, answers: Answers) -> LensCandidate:
    return LensCandidate(
        id=candidate.id,
        text=answers.text(candidate.id),
        rank=candidate.rank,
        probability=_finite(candidate.probability),
        logit=_finite(candidate.logit),
    )


def _attribution_body(found: Attribution, position: int, answers: Answers) -> AttributionResponseBody:
    return AttributionResponseBody(
        token=found.token,
        text=answers.text(found.token),
        position=position,
        logit=_finite(found.logit),
        given=_finite(found.given),
        total=_finite(found.total),
        remainder=_finite(found.remainder),
        parts=[_part(part) for part in found.parts],
    )


def _part(part: Part) -> AttributionPart:
    return AttributionPart(
        name=part.name,
        kind=part.kind,
        value=_finite(part.value),
        rest=_finite(part.rest) if part.children else None,
        parts=[_part(child) for child in part.children],
        note=part.note or None,
    )


def _finite(value: float) -> float | None:
    """JSON has no word for what is not."""
    return value if math.isfinite(value) else None
