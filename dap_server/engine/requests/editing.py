"""How an edit gets from a request to the run: numbers from elsewhere, a trial beside the run, then the run itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dap_server.engine.analysis.edits.assignments import Assignment, Pointing, read_assignment
from dap_server.engine.analysis.edits.proposal import (
    Listed,
    Proposal,
    Proposed,
    Undone,
    steps_of,
    which_by_default,
)
from dap_server.engine.analysis.patching.sources import Sources
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.checking import require_sense
from dap_server.engine.execution.edits.edit import Edit, ModuleValue, Prompt, Steps
from dap_server.engine.execution.edits.edits import Edits, NoSuchEdit
from dap_server.engine.execution.edits.outcomes import Outcomes
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.execution.stepping import Stop
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.python_names import python_of
from dap_server.engine.inspection.tensors.raw_bytes import Memory
from dap_server.engine.requests.edit_specs import EditSpecs, require_words
from dap_server.engine.requests.effects import effect_text
from dap_server.engine.session import EngineSession
from dap_server.modelmap.places import STEP, Place
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import InvalidatedEventBody
from dap_server.protocol.llm.edits import EditInfo, EditsResponseBody

WHICH = (
    "one can change parameters and buffers, the first tensor that a module is given or returns, keys and values of the "
    "cache, logits, the token, options of sampling, and the prompt"
)


def propose(session: EngineSession, frame: Frame, proposals: Sequence[Proposal]) -> EditsResponseBody:
    """Edits as somebody wants them in a frame, done. Raises CannotEdit, and nothing has changed."""
    wanted = []
    for proposal in proposals:
        steps = steps_of(proposal.target, proposal.steps, frame.step)
        last = None if steps.last is None else steps.last + proposal.later
        steps = Steps(steps.first + proposal.later, last)
        wanted.append(Edit(proposal.target, proposal.change, steps))
    return add(session, frame, wanted)


def add(session: EngineSession, frame: Frame, wanted: Sequence[Edit]) -> EditsResponseBody:
    """More edits. Raises CannotEdit, and nothing has changed."""
    present = session.stop.generation.edits
    edits = _settled(session, frame, wanted, present)
    return put(session, present.plus(edits), _about(edits), _place(frame, edits))


def exchange(session: EngineSession, frame: Frame, old: Edit, wanted: Edit) -> EditsResponseBody:
    """One edit in the place of another, whose number it has. Raises CannotEdit, and nothing has changed."""
    present = session.stop.generation.edits
    first, *others = _settled(session, frame, [wanted], present.without(old.id))
    edits = [replace(first, id=old.id), *others]
    at = present.all.index(old)
    return put(session, Edits((*present.all[:at], *edits, *present.all[at + 1 :])), _about(edits))


def replace_all(session: EngineSession, frame: Frame, wanted: Sequence[Edit], about: str) -> EditsResponseBody:
    """These edits and no others. Raises CannotEdit, and nothing has changed."""
    return put(session, Edits(tuple(_settled(session, frame, wanted, Edits()))), about)


def _settled(session: EngineSession, frame: Frame, wanted: Sequence[Edit], others: Edits) -> list[Edit]:
    """Edits with all their numbers, which have been tried together with others that stay."""
    debuggee, stop = session.ready, session.stop
    specs = EditSpecs(debuggee.anatomy, debuggee.vocabulary)

    def job() -> list[Edit]:
        sources, found = Sources(frame, debuggee.anatomy, debuggee.vocabulary), []
        for edit in wanted:
            require_sense(edit.target, edit.change, debuggee.anatomy)
            require_words(edit)
            found += [
                specs.worded(replace(edit, target=target, change=change))
                for target, change in sources.found(edit.target, edit.change)
            ]
        if any(isinstance(edit.target, Prompt) for edit in found):
            _require_prompts(stop)
        _try(stop, found, others)
        return found

    return stop.generation.branches.numbered(session.on_model_thread(job))


def _about(edits: Sequence[Edit]) -> str:
    return "edited: " + "; ".join(edit.text for edit in edits)


def put(session: EngineSession, edits: Edits, about: str, place: Place | None = None) -> EditsResponseBody:
    """Another list. The run moves once the request is answered, if a step that has begun is changed by it."""
    stepper, present = session.ready.stepper, session.stop.generation.branches.present
    effect = effect_text(session, edits)
    turn, forked_from = stepper.settle(edits), None
    if effect:
        session.afterwards(lambda: session.output(effect, "console"))
    if turn is None:
        session.afterwards(lambda: tell_changed(session))
    else:
        forked_from = None if turn.branch is present else present.id
        there = None if place is None or place.step != turn.step else place
        if turn.begins_anew and there is None:
            there = turn.branch.left  # of a branch that is there already
        session.afterwards(lambda: stepper.turn(turn, there, about))
    session.ready.scopes.forget()
    return EditsResponseBody(edits=told(session, edits), forked_from=forked_from)


def told(session: EngineSession, edits: Edits, with_data: bool = False) -> list[EditInfo]:
    """A list as a client gets it."""
    specs = EditSpecs(session.ready.anatomy, session.ready.vocabulary)
    problems = session.stop.generation.branches.outcomes.problems
    return [specs.info(edit, problems.get(edit.id), with_data) for edit in edits.all]


def tell_changed(session: EngineSession) -> None:
    """What a client has of this stop is to be fetched again."""
    session.connection.event("invalidated", InvalidatedEventBody(areas=["variables", "stacks"]))


def _try(stop: Stop, wanted: Sequence[Edit], others: Edits) -> None:
    """Runs the first step that new edits change, beside the run. Raises CannotEdit: they cannot be applied there."""
    generation = stop.generation
    first = min((edit.steps.first for edit in wanted if edit.is_on), default=stop.place.step + 1)
    if generation.tape is None:
        raise CannotEdit("nothing of this run can be run again, so nothing in it can be edited")
    if first > stop.place.step or (generation.is_own_loop and first > len(generation.records)):
        return
    numbered = [replace(edit, id=-i) for i, edit in enumerate(wanted, 1)]
    trial = generation.branches.supposing(others.plus(numbered))
    try:
        generation.tape.replay(first, None, trial)
    except (RequestError, MemoryError):
        raise
    except Exception as error:
        what = "this edit" if trial.present.edits.prompts == generation.edits.prompts else "this prompt"
        raise CannotEdit(f"the model does not take {what}: {type(error).__name__}: {error}") from error
    for edit in numbered:
        _require_applied(edit, first, trial.outcomes)


def _require_prompts(stop: Stop) -> None:
    """Raises CannotEdit: this call cannot begin with another prompt."""
    generation = stop.generation
    if generation.run is None:
        raise CannotEdit("a program has begun this call with its own text: change it there")
    if not generation.takes_prompts:
        raise CannotEdit(
            "the encoder reads this prompt just now: give another one from the first step of the decoder on"
        )
    if (
        generation.encoded is not None
        and generation.encoded.edits
        and generation.encoded.branches is not generation.branches
    ):
        raise CannotEdit("the encoder has been edited while it read this prompt: restart with the other one")


def _require_applied(edit: Edit, step: int, outcomes: Outcomes) -> None:
    if edit.id in outcomes.problems:
        raise CannotEdit(outcomes.problems[edit.id])
    is_here_alone = edit.steps.first == edit.steps.last == step and edit.is_on
    if is_here_alone and isinstance(edit.target, ModuleValue) and edit.id not in outcomes.met:
        where = edit.target.path or "the model"
        raise CannotEdit(f"step {step} has nothing of this: '{where}' does not run in it, or not at these positions")


def _place(frame: Frame, edits: Sequence[Edit]) -> Place | None:
    """Where the run stands after an edit in the history: at the value, in its step."""
    if frame.step == frame.stop.place.step:
        return None
    if len(edits) != 1 or edits[0].steps.first != frame.step:
        return None
    target = edits[0].target
    if isinstance(target, ModuleValue) and target.path == frame.path and target.path:
        return Place(frame.step, target.path, "after" if target.value == "output" else "before")
    return Place(frame.step, STEP if frame.stop.generation.is_own_loop else "")


def pointing(session: EngineSession, frame: Frame) -> Pointing:
    """What names of a frame mean as targets."""
    debuggee = session.ready
    evaluator = debuggee.evaluator
    return Pointing(
        frame,
        lambda text: evaluator.hover(text, frame),
        lambda text: evaluator.evaluate(text, frame),
        debuggee.anatomy,
        debuggee.vocabulary,
    )


def from_console(session: EngineSession, frame: Frame, text: str) -> str | None:
    """What a line of the console changes, done, and told in lines; None for one that is Python and nothing else."""
    if python_of(frame) is not None:
        return None
    assignment = read_assignment(text)
    if assignment is None or (not assignment.operator and session.ready.evaluator.has_assigned(assignment.target)):
        return None
    found = session.on_model_thread(lambda: pointing(session, frame).proposal(assignment))
    if found is None:
        return None
    before = len(session.stop.generation.edits.all)
    return listing(propose(session, frame, [found]).edits[before:])


def by_value(session: EngineSession, frame: Frame, value: object) -> str | None:
    """The same of what an expression gave: a named intervention, `undo()`, `edits()`."""
    match value:
        case Proposed(edits):
            before = len(session.stop.generation.edits.all)
            return listing(propose(session, frame, edits).edits[before:])
        case Undone(id):
            return listing(undo(session, id).edits)
        case Listed():
            return listing(told(session, session.stop.generation.edits))
    return None


def undo(session: EngineSession, id: int | None) -> EditsResponseBody:
    """Takes an edit off the list, the last one without a number. Raises NoSuchEdit."""
    present = session.stop.generation.edits
    if id is None and not present:
        raise NoSuchEdit("there is nothing to undo: this branch has no edits")
    undone = present.all[-1] if id is None else present.of(id)
    return put(session, present.without(undone.id), f"undone: {undone.text}")


def listing(edits: Sequence[EditInfo]) -> str:
    """`3  zero output of model.layers.3, from step 2 on`, and so on."""
    lines = [
        f"{edit.id}  {edit.text}{'' if edit.enabled else '  (off)'}{f'  ({edit.problem})' if edit.problem else ''}"
        for edit in edits
    ]
    return "\n".join(lines) or "no edits"


def assign(session: EngineSession, frame: Frame, target: str, value: str) -> str:
    """Gives what an expression names another value, and says which. Raises CannotEdit: it is nothing of the run's."""
    if python_of(frame) is not None:
        return session.on_model_thread(lambda: session.ready.evaluator.assign(target, value, frame))
    where = pointing(session, frame)

    def job() -> Proposal:
        found = where.proposal(Assignment(target, "", value))
        if found is None:
            raise CannotEdit(f"'{target}' cannot be changed: {WHICH}")
        return found

    proposal = session.on_model_thread(job)
    propose(session, frame, [proposal])
    tokens = proposal.change.tokens
    return session.ready.vocabulary.quoted(tokens[0]) if tokens else value.strip()


def write(session: EngineSession, reference: str, first: int, data: bytes) -> bool:
    """Bytes of a tensor as an edit; False where it is none that can be edited."""
    memory = session.ready.references.memory(reference)
    expression, frame = session.ready.references.name_of_memory(reference)
    if expression is None or frame is None or not memory.is_live or python_of(frame) is not None:
        return False

    def job() -> Proposal | None:
        target = pointing(session, frame).target(expression)
        if target is None:
            return None
        changed = memory.tensor.detach().clone()
        Memory(changed, is_live=True).write(first, data)
        return Proposal(target, Change("set", tensor=changed), which_by_default(target))

    found = session.on_model_thread(job)
    if found is not None:
        propose(session, frame, [found])
    return found is not None
