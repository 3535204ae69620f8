"""What panels, the status bar and the lines of a map show of a run."""

from __future__ import annotations

import os

import torch

from dap_server.engine.analysis.inline_values import Value
from dap_server.engine.execution.memory import used_bytes
from dap_server.engine.inspection.generated import TextToken, length_of, text_tokens, with_choices
from dap_server.engine.inspection.python_frames import in_call
from dap_server.engine.requests.numbers import finite
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.threads import sequence_of
from dap_server.engine.session import EngineSession
from dap_server.modelmap.places import END, STEP
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.generation import (
    Alternative,
    GeneratedToken,
    GenerationArguments,
    GenerationResponseBody,
    InlineValue,
    InlineValuesArguments,
    InlineValuesResponseBody,
    StatusArguments,
    StatusResponseBody,
)
from dap_server.protocol.llm.tokens import Token
from dap_server.wire.handlers import When

WHOLE_MODEL = "."


@requests.request(when=When.STOPPED, command="llm/generation", needs_model=False)
def generation(session: EngineSession, args: GenerationArguments) -> GenerationResponseBody:
    """A stretch of a sequence's text, token by token, and where the run stands."""
    sequence, debuggee, stop = sequence_of(session, args.thread_id, "llm/generation"), session.ready, session.stop
    present = stop.generation
    anatomy, path = debuggee.anatomy, stop.place.path
    is_selecting = path not in anatomy.modules and path not in (STEP, END)

    def job() -> GenerationResponseBody:
        total = length_of(present)
        end = total if args.count is None else min(args.start + args.count, total)
        tokens = text_tokens(present, sequence, args.start, end)
        if args.entropy or args.top:
            tokens = with_choices(tokens, stop, sequence, args.top, debuggee.stepper.stage)
        return GenerationResponseBody(
            sequence=sequence,
            tokens=[_token(session, token) for token in tokens],
            total=total,
            prompt_length=present.prompt_length,
            steps=len(present.records),
            step=stop.place.step,
            path=path,
            phase=stop.place.phase,
            layers=anatomy.layer_paths,
            layer=anatomy.last_layer(path, stop.place.phase),
            is_selecting=is_selecting,
            has_selection=present.is_own_loop,
            is_over=present.is_over,
        )

    return session.on_model_thread(job)


def _token(session: EngineSession, token: TextToken) -> GeneratedToken:
    vocabulary = session.ready.vocabulary
    made = GeneratedToken(id=token.id, text=vocabulary.text(token.id), position=token.position, step=token.step)
    made.probability = None if token.probability is None else finite(token.probability)
    made.entropy = None if token.entropy is None else finite(token.entropy)
    made.special, made.padding = vocabulary.is_special(token.id), token.is_padding
    if token.alternatives is not None:
        made.alternatives = [
            Alternative(id=c.token, text=vocabulary.text(c.token), probability=finite(c.probability))
            for c in token.alternatives
        ]
    return made


@requests.request(when=When.STOPPED, command="llm/status", needs_model=False)
def status(session: EngineSession, _args: StatusArguments) -> StatusResponseBody:
    """What a status bar shows."""
    debuggee, stop = session.ready, session.stop
    present = stop.generation if in_call(stop) else debuggee.stepper.generation
    model = debuggee.loaded.model
    parameters = list(model.parameters())
    device = parameters[0].device if parameters else torch.device("cpu")
    return StatusResponseBody(
        model="" if debuggee.anatomy.is_empty else type(model).__name__,
        device=str(device),
        dtype=str(parameters[0].dtype).removeprefix("torch.") if parameters else "",
        parameters=sum(p.numel() for p in parameters),
        steps=len(present.records),
        seconds=present.seconds,
        memory=used_bytes(device),
        program=os.path.basename(session.script.name) if session.script else None,
        is_outside=not in_call(stop),
    )


@requests.request(when=When.STOPPED, command="llm/inlineValues")
def inline_values(session: EngineSession, args: InlineValuesArguments) -> InlineValuesResponseBody:
    """What the lines of a map show beside them at this stop."""
    debuggee = session.ready
    frame = debuggee.references.frame(args.frame_id)
    if frame.kind in ("label", "prompt"):
        raise InvalidArguments("'llm/inlineValues': nothing runs in this frame, at `$.frameId`")
    values = debuggee.inline_values

    def job() -> InlineValuesResponseBody:
        found = values.all(frame) if args.wait else values.held(frame)
        shown = [_inline(session, path, found[key]) for path in args.paths if (key := _key(path)) in found]
        return InlineValuesResponseBody(values=shown, is_complete=values.is_complete(frame))

    return session.on_model_thread(job)


def _key(path: str) -> str:
    """A map has a dot for the whole model."""
    return "" if path == WHOLE_MODEL else path


def _inline(session: EngineSession, path: str, value: Value) -> InlineValue:
    text = None if value.token is None else Token(id=value.token, text=session.ready.vocabulary.text(value.token))
    return InlineValue(
        path=path,
        norm=None if value.norm is None else finite(value.norm),
        is_input=value.is_input,
        token=text,
        probability=None if value.probability is None else finite(value.probability),
    )
