"""What edits did, how branches differ, and what a change would do everywhere."""

from __future__ import annotations

from dap_server.engine.analysis.answers import Answers, tape_of
from dap_server.engine.analysis.effects.comparing import Chosen, Comparison, compare
from dap_server.engine.analysis.effects.distributions import Distance
from dap_server.engine.analysis.effects.effect import Effect, Likely, effect_of
from dap_server.engine.analysis.effects.movement import Movement
from dap_server.engine.analysis.effects.sweep import Question, Saying, Sweep, Sweeper, ids_of
from dap_server.engine.analysis.effects.wording import effect_lines, unasked_lines
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.inspection.tensors.tiles import tile
from dap_server.engine.requests.numbers import finite
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.threads import sequence_of
from dap_server.engine.requests.tiles import tile_body
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm import effects as messages
from dap_server.protocol.llm.effects import (
    CompareBranchesArguments,
    CompareBranchesResponseBody,
    EffectArguments,
    EffectResponseBody,
    SweepArguments,
    SweepResponseBody,
)
from dap_server.protocol.llm.tokens import Token
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/editEffect")
def edit_effect(session: EngineSession, args: EffectArguments) -> EffectResponseBody:
    """What edits of the present branch did in a step, beside what it would be without them."""
    debuggee, stop = session.ready, session.stop
    present = stop.generation.edits
    wanted = [present.of(id) for id in args.ids] if args.ids is not None else list(present.all)
    without = Edits(tuple(edit for edit in present.all if edit not in wanted))
    first = without.first_difference(present)
    step = first if args.step is None else args.step
    if first is None or step is None:
        raise CannotEdit("there is no edit in force here whose effect could be told")
    if not first <= step <= stop.place.step:
        raise CannotEdit(f"these edits are in force from step {first} on, and the run stands at step {stop.place.step}")
    sequence = None if args.thread_id is None else sequence_of(session, args.thread_id, "llm/editEffect")
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)

    def job() -> EffectResponseBody:
        found = effect_of(stop.generation, debuggee.anatomy, without, present, step, sequence)
        assert found is not None
        return _effect_body(found, answers)

    return session.on_model_thread(job)


def effect_text(session: EngineSession, edits: Edits) -> str:
    """What another list of edits would do to the run, in lines; it is found out beside it, before the run has them."""
    debuggee, stop = session.ready, session.stop
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)
    lines = session.on_model_thread(lambda: unasked_lines(stop, debuggee.anatomy, edits, answers))
    return "".join(f"{line}\n" for line in lines)


@requests.request(when=When.STOPPED, command="llm/compareBranches")
def compare_branches(session: EngineSession, args: CompareBranchesArguments) -> CompareBranchesResponseBody:
    """Where two branches part, and how far they are apart."""
    sequence = sequence_of(session, args.thread_id, "llm/compareBranches")
    debuggee, generation = session.ready, session.stop.generation
    first, second = (generation.branches.of(id) for id in (args.a, args.b))
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)

    def job() -> CompareBranchesResponseBody:
        found = compare(generation, debuggee.anatomy, first, second, sequence, debuggee.stepper.stage)
        return _comparison_body(found, args, answers)

    return session.on_model_thread(job)


@requests.request(when=When.STOPPED, command="llm/sweep")
def sweep(session: EngineSession, args: SweepArguments) -> SweepResponseBody:
    """One change at every layer and position."""
    debuggee = session.ready
    frame = debuggee.references.frame(args.frame_id)
    if frame.kind == "label":
        raise InvalidArguments("'llm/sweep': this frame is a heading, at `$.frameId`")
    for name, given in (("layers", args.layers), ("positions", args.positions)):
        if given is not None and not given:
            raise InvalidArguments(f"'llm/sweep': an empty list of {name}: leave it out for all of them, at `$.{name}`")
    answers = Answers(debuggee.anatomy, debuggee.vocabulary)

    def job() -> SweepResponseBody:
        tape_of(frame)
        question = Question(
            args.change,
            args.layers,
            args.positions,
            args.modules,
            None if args.source is None else ids_of(args.source, debuggee.vocabulary),
            args.source_positions,
            None if args.target is None else answers.find(args.target),
            None if args.foil is None else answers.find(args.foil),
        )
        generation, stage = frame.stop.generation, debuggee.stepper.stage
        found = Sweeper(generation, frame.step, frame.sequence, debuggee.anatomy, question, stage).sweep()
        assert generation.input_ids is not None
        texts = generation.input_ids[frame.sequence].tolist()
        return _sweep_body(found, frame.step, [texts[position] for position in found.positions], answers)

    return session.on_model_thread(job)


def _effect_body(found: Effect, answers: Answers) -> EffectResponseBody:
    moved, chosen = found.movement, found.chosen
    gone = None if moved is None else moved.died_out
    return EffectResponseBody(
        ids=[edit.id for edit in found.edits],
        step=found.step,
        sequence=found.sequence,
        reach=found.reach,
        text=effect_lines(found, answers),
        logits=_distance(found.logits),
        before=_likely(found.top[0], answers),
        after=_likely(found.top[1], answers),
        layers=[] if moved is None else _layers(moved),
        drawn=None if found.drawn is None else _distance(found.drawn),
        chosen_before=None if chosen is None else _token(chosen[0], answers),
        chosen_after=None if chosen is None else _token(chosen[1], answers),
        position=found.position,
        died_out=None if moved is None or gone is None else moved.paths[gone],
        outliers=[
            messages.EffectOutlier(id=one.edit, where=one.where, factor=finite(one.factor)) for one in found.outliers
        ],
        unmet=found.unmet,
        problems=[messages.EditProblem(id=id, text=text) for id, text in found.problems.items()],
    )


def _layers(moved: Movement) -> list[messages.EffectLayer]:
    last, largest = moved.relative[:, -1].tolist(), moved.relative.amax(-1).tolist()
    return [
        messages.EffectLayer(path=path, last=finite(here), largest=finite(most))
        for path, here, most in zip(moved.paths, last, largest, strict=True)
    ]


def _comparison_body(
    found: Comparison, args: CompareBranchesArguments, answers: Answers
) -> CompareBranchesResponseBody:
    has_movement = found.relative.numel() > 0
    return CompareBranchesResponseBody(
        a=args.a,
        b=args.b,
        sequence=found.sequence,
        steps=[
            messages.ComparedStep(
                step=pair.step,
                logits=_distance(pair.distance),
                a=_chosen(pair.chosen[0], answers),
                b=_chosen(pair.chosen[1], answers),
            )
            for pair in found.steps
        ],
        layers=found.paths,
        positions=[
            messages.ComparedPosition(position=position, differs=differs)
            for position, differs in zip(found.positions, found.differs, strict=True)
        ],
        fork=found.fork,
        divergence=found.divergence,
        movement=tile_body(tile(found.relative)) if has_movement else None,
        problem=found.unread or None,
    )


def _sweep_body(found: Sweep, step: int, tokens: list[int], answers: Answers) -> SweepResponseBody:
    recovered = found.recovered
    return SweepResponseBody(
        step=step,
        target=_token(found.target, answers),
        foil=_token(found.foil, answers),
        rows=[messages.SweepRow(index=i, path=path) for i, path in zip(found.layers, found.paths, strict=True)],
        columns=[
            messages.SweepColumn(position=position, token=_token(token, answers))
            for position, token in zip(found.positions, tokens, strict=True)
        ],
        base=_saying(found.base),
        probability=tile_body(tile(found.probability)),
        difference=tile_body(tile(found.difference)),
        kl=tile_body(tile(found.kl)),
        source=None if found.source is None else _saying(found.source),
        recovered=None if recovered is None else tile_body(tile(recovered)),
    )


def _distance(found: Distance) -> messages.Distance:
    return messages.Distance(same=found.is_same, kl=finite(found.kl), total_variation=finite(found.total_variation))


def _likely(found: Likely, answers: Answers) -> messages.LikelyToken:
    return messages.LikelyToken(id=found.id, text=answers.text(found.id), probability=finite(found.probability))


def _chosen(found: Chosen | None, answers: Answers) -> messages.LikelyToken | None:
    return None if found is None else _likely(Likely(found.id, found.probability), answers)


def _token(id: int, answers: Answers) -> Token:
    return Token(id=id, text=answers.text(id))


def _saying(found: Saying) -> messages.SweepSaying:
    return messages.SweepSaying(probability=finite(found.probability), difference=finite(found.difference))
