"""Branches: the tree, going to another, deleting and naming them."""

from __future__ import annotations

import math

from dap_server.engine.execution.branches import Branch
from dap_server.engine.requests.edit_specs import EditSpecs
from dap_server.engine.requests.editing import tell_changed
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm import branches as messages
from dap_server.protocol.llm.branches import (
    BranchArguments,
    BranchesArguments,
    BranchesResponseBody,
    BranchToken,
    NameBranchArguments,
)
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/branches")
def branches(session: EngineSession, args: BranchesArguments) -> BranchesResponseBody:
    """The tree."""
    return _told(session, args.thread_id)


@requests.request(when=When.STOPPED, command="llm/switchBranch")
def switch_branch(session: EngineSession, args: BranchArguments) -> BranchesResponseBody:
    """Goes to where another branch was left, once this is answered."""
    stop, stepper = session.stop, session.ready.stepper
    tree = stop.generation.branches
    branch = tree.of(args.id)
    if branch is not tree.present:
        turn, left = tree.turn_to(branch, stop.place), branch.left
        session.afterwards(lambda: stepper.turn(turn, left, f"switched to {branch.name}"))
        session.ready.scopes.forget()
    return _told(session, args.thread_id, args.id)


@requests.request(when=When.STOPPED, command="llm/deleteBranch")
def delete_branch(session: EngineSession, args: BranchArguments) -> BranchesResponseBody:
    """Forgets a branch that the run is not in."""
    session.stop.generation.branches.delete(args.id)
    session.afterwards(lambda: tell_changed(session))
    return _told(session, args.thread_id)


@requests.request(when=When.STOPPED, command="llm/nameBranch")
def name_branch(session: EngineSession, args: NameBranchArguments) -> BranchesResponseBody:
    """Calls a branch otherwise."""
    name = " ".join(args.name.split())
    if not name:
        raise InvalidArguments("'llm/nameBranch': a name is missing, at `$.name`")
    session.stop.generation.branches.of(args.id).name = name
    return _told(session, args.thread_id)


def _told(session: EngineSession, thread: int, present: int | None = None) -> BranchesResponseBody:
    """`present`: the branch that the run is on its way to."""
    tree, sequences = session.stop.generation.branches, session.stop.generation.sequences
    if not 1 <= thread <= max(sequences, 1):
        raise InvalidArguments(f"no sequence {thread}: there are {sequences}, at `$.threadId`")
    present = tree.present.id if present is None else present

    def job() -> list[messages.Branch]:
        return [_branch(session, branch, thread - 1, branch.id == present) for branch in tree.all]

    return BranchesResponseBody(branches=session.on_model_thread(job))


def _branch(session: EngineSession, branch: Branch, sequence: int, is_present: bool) -> messages.Branch:
    generation = session.stop.generation
    vocabulary, specs = session.ready.vocabulary, EditSpecs(session.ready.anatomy, session.ready.vocabulary)
    tokens = []
    for record in branch.records[branch.fork_step :]:
        token, probability = int(record.tokens[sequence]), float(record.probability[sequence])
        known = probability if math.isfinite(probability) else None
        tokens.append(BranchToken(id=token, text=vocabulary.text(token), probability=known))
    return messages.Branch(
        id=branch.id,
        name=branch.name,
        is_present=is_present,
        steps=len(branch.records),
        tokens=tokens,
        edits=[specs.info(edit) for edit in branch.edits.all],
        parent=branch.parent,
        fork_step=None if branch.parent is None else branch.fork_step,
        prompt=None if (prompts := generation.prompts_of(branch.edits)) is None else prompts[sequence],
    )
