"""Own messages about branches: the futures that a run had before something in its past was changed."""

from __future__ import annotations

from dap_server.protocol.llm.edits import EditInfo
from dap_server.protocol.llm.tokens import Token
from dap_server.protocol.messages import SafeUInt, Struct, UInt31


class BranchesArguments(Struct):
    """`llm/branches`: the tree of branches."""

    thread_id: int = 1
    """Whose sequence's tokens are told."""


class BranchToken(Token):
    """One that the branch chose."""

    probability: float | None = None
    """With which it was chosen, after all logits processors; missing where it is not finite."""


class Branch(Struct):
    """One way that the run has gone."""

    id: UInt31
    name: str
    is_present: bool
    steps: SafeUInt
    """How many tokens it has chosen."""
    tokens: list[BranchToken]
    """From `forkStep` on; those before are the parent's."""
    edits: list[EditInfo]
    parent: UInt31 | None = None
    fork_step: SafeUInt | None = None
    """The first step in which it is not its parent."""
    prompt: str | None = None
    """What it begins with, of a chat the last message of the user; missing where no edit could be about that."""


class BranchesResponseBody(Struct):
    """The answer to `llm/branches`, and to those that change them."""

    branches: list[Branch]


class BranchArguments(Struct):
    """`llm/switchBranch`: goes on in another branch, where it was left. `llm/deleteBranch`: forgets it and its own."""

    id: UInt31
    thread_id: int = 1


class NameBranchArguments(Struct):
    """`llm/nameBranch`."""

    id: UInt31
    name: str
    thread_id: int = 1
