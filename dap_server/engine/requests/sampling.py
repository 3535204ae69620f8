"""The choice of a token, stage by stage."""

from __future__ import annotations

import torch

from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.inspection.frames import frame_of_step
from dap_server.engine.inspection.selection import Candidate, Choice, Stage
from dap_server.engine.inspection.selection_rows import option_texts
from dap_server.engine.requests.numbers import finite
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.sampling import (
    SamplingArguments,
    SamplingMove,
    SamplingOption,
    SamplingResponseBody,
    SamplingStage,
    SamplingToken,
)
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/sampling")
def sampling(session: EngineSession, args: SamplingArguments) -> SamplingResponseBody:
    """How the token of a frame's step is chosen; of a past step by running it again."""
    debuggee = session.ready
    frame = frame_of_step(debuggee.references.frame(args.frame_id), args.step)

    @torch.no_grad()
    def job() -> SamplingResponseBody | None:
        choice = debuggee.scopes.choices.choice(frame)
        return None if choice is None else _body(choice, frame.step, frame.sequence, args.top, debuggee.vocabulary)

    body = session.on_model_thread(job)
    if body is None:
        raise InvalidArguments("'llm/sampling': no choice of a token is known in this frame, at `$.frameId`")
    return body


def _body(choice: Choice, step: int, sequence: int, top: int, vocabulary: Vocabulary) -> SamplingResponseBody:
    return SamplingResponseBody(
        step=step,
        sequence=sequence,
        token=_token(choice.final.at(choice.token), vocabulary),
        is_chosen=choice.is_chosen,
        draw="padding" if choice.is_padding else "sampled" if choice.is_sampled else "greedy",
        pruned=choice.pruned,
        pruned_mass=finite(choice.pruned_mass),
        stages=[_stage(stage, choice.token, top, vocabulary) for stage in choice.stages],
    )


def _stage(stage: Stage, chosen: int, top: int, vocabulary: Vocabulary) -> SamplingStage:
    made = SamplingStage(
        name=stage.name,
        kind="processor",
        occurrence=stage.occurrence,
        tokens=stage.kept,
        top=[_token(candidate, vocabulary) for candidate in stage.top(top)],
        chosen=_token(stage.at(chosen), vocabulary),
        rank=stage.rank(chosen),
        entropy=finite(stage.entropy),
        nan=stage.nan,
    )
    if stage.processor is None:
        made.kind = "logits" if stage.before is None else "probabilities"
        return made
    made.options = [SamplingOption(name=n, value=text) for n, text in option_texts(stage.processor).items()]
    made.changed, made.pruned = stage.changed, stage.pruned
    made.pruned_mass = finite(stage.pruned_mass)
    made.movers = [
        SamplingMove(id=move.token, text=vocabulary.text(move.token), before=move.before, after=move.after)
        for move in stage.movers(top)
    ]
    return made


def _token(candidate: Candidate, vocabulary: Vocabulary) -> SamplingToken:
    return SamplingToken(
        id=candidate.token,
        text=vocabulary.text(candidate.token),
        score=finite(candidate.score),
        probability=finite(candidate.probability),
    )
