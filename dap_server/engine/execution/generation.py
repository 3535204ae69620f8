"""The state of one `generate` call that people look at: its steps, its texts, the choice of the current token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dap_server.engine.execution import randomness
from dap_server.engine.execution.branches import Branches
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import CannotEdit

if TYPE_CHECKING:
    from dap_server.engine.execution.answers import Answer
    from dap_server.engine.execution.decoding import SamplingLoop
    from dap_server.engine.execution.encoding import EncoderCall
    from dap_server.engine.execution.probes import Probe


UNSETTLED_BYTES = 4 * 1024 * 1024
"""What the scores of steps that wait for their probability may take together."""


class StepRecord:
    """What is kept of a finished step. Tensors stay on their device, so that recording never waits for it.

    Attributes:
        tokens: (B,) the chosen ids.
        entropy: (B,) of the choice, in nats, once somebody has asked for it.
    """

    __slots__ = ("_probability", "_scores", "entropy", "tokens")

    def __init__(self, tokens: Tensor, scores: Tensor) -> None:
        """`scores` (B, V), after all logits processors, are kept until the probability is made."""
        self.tokens = tokens
        self.entropy: Tensor | None = None
        self._scores: Tensor | None = scores
        self._probability: Tensor | None = None

    @property
    def probability(self) -> Tensor:
        """(B,) of the chosen token, after all logits processors."""
        if self._probability is None:
            assert self._scores is not None
            probs = torch.softmax(self._scores, dim=-1)  # half the time of logsumexp
            self._probability, self._scores = probs.gather(1, self.tokens[:, None]).squeeze(1), None
        return self._probability


class Unsettled:
    """Records whose scores are still there. Most probabilities are never asked for; together they cost half."""

    def __init__(self) -> None:
        self._records: list[StepRecord] = []
        self._nbytes = 0

    def add(self, record: StepRecord, nbytes: int) -> None:
        """`nbytes`: of its scores."""
        self._records.append(record)
        self._nbytes += nbytes
        if self._nbytes > UNSETTLED_BYTES:
            for one in self._records:
                _ = one.probability
            self._records.clear()
            self._nbytes = 0


@dataclass
class Processed:
    """A logits processor that has run.

    Attributes:
        name: its class.
        scores: (B, V) as it gave them, by value; None where nobody watched.
    """

    name: str
    processor: Any
    scores: Tensor | None


class Outcome(NamedTuple):
    """What the tokens of a step lead to.

    Attributes:
        input_ids: (B, T) with the tokens.
        unfinished: (B,) 1 for sequences that go on.
        is_over: whether none does.
    """

    input_ids: Tensor
    unfinished: Tensor
    is_over: bool


@dataclass
class Selection:
    """The choice of one token, while it is being made.

    Attributes:
        logits: (B, V) of the last position in float32, as the model gave them.
        scores: (B, V) after the logits processors that have run so far.
        processors: all logits processors, in order.
        waiting: how many of them have not run yet.
        kept: those that have run one by one, with what each gave.
        running: the one that is at work; before and after it too, while it is a place.
        unfinished: (B,) 1 for sequences that go on; the others get padding.
        tokens: (B,) the chosen ids, None before the draw.
        chosen: the same on the host, once they have been read.
        outcome: what the choice leads to, in the run itself.
    """

    logits: Tensor
    scores: Tensor
    processors: Sequence[Any] = ()
    waiting: int = 0
    kept: list[Processed] = field(default_factory=list)
    running: Any = None
    unfinished: Tensor | None = None
    tokens: Tensor | None = None
    chosen: list[int] | None = None
    outcome: Outcome | None = None

    @property
    def processed(self) -> list[Processed]:
        """Those that have run, in order."""
        at_once = self.processors[len(self.kept) : len(self.processors) - self.waiting]
        return [*self.kept, *(Processed(type(one).__name__, one, None) for one in at_once)]

    @property
    def is_known(self) -> bool:
        """Whether all logits processors have run, and what each of them gave was kept."""
        return not self.waiting and all(processed.scores is not None for processed in self.processed)

    @property
    def probs(self) -> Tensor:
        """(B, V) probabilities that the next token is drawn from."""
        return torch.softmax(self.scores, dim=-1)


class Tape(Protocol):
    """What can run the steps of a call again."""

    @property
    def is_sampled(self) -> bool:
        """Whether tokens are drawn at random; else the highest score wins."""
        ...

    @property
    def cache(self) -> Any:
        """What holds the keys, values or states of earlier tokens, as it is now; None where nothing is known of it."""
        ...

    @property
    def config(self) -> Any:
        """How tokens are chosen, as `generate` was told; None where nobody knows."""
        ...

    @property
    def logits_processor(self) -> list[Any]:
        """Those that take part in choosing a token, in order."""
        ...

    def cache_began_with(self, step: int) -> list[int | None]:
        """The tokens that every layer of the cache had been given when a step began; empty where nobody knows."""
        ...

    def choose(self, scores: Tensor) -> Tensor:
        """(B,) tokens drawn from scores (B, V)."""
        ...

    def require_again(self) -> None:
        """Raises CannotRunAgain: what it was given has changed since, and cannot be put back."""
        ...

    def replay(self, step: int, probe: Probe | None = None, supposing: Branches | None = None) -> Selection | None:
        """Runs a past step again beside the suspended one, which notices nothing.

        Returns the choice of its token, made with the random state of then, with the scores after every logits
        processor; None when another loop decodes.
        `probe` is called at every module call of that step, and may end the replay by raising Enough.
        `supposing`: the run is one with the edits of their present branch, from the first step on that these change.
        """
        ...

    def follow(
        self,
        steps: range,
        branches: Branches,
        probe: Callable[[int], Probe],
        heard: Callable[[int, Selection], None],
    ) -> None:
        """Runs steps of another branch one after another beside the suspended run, along the text that it has.

        Each is seen by its own probe, and told when its token has been chosen. `branches`: the present one of them is
        meant; behind its last record it chooses its tokens.
        """
        ...

    def aside(self) -> AbstractContextManager[None]:
        """While this is open, what runs the model is seen by nobody, and leaves the suspended run as it is."""
        ...

    def forward(self, ids: Tensor, sequence: int, probe: Probe | None = None, encodes: bool = False) -> Any:
        """What the model gives for a whole text (1, T) of a sequence at once, beside the suspended run.

        There is no cache. It is close to what the steps gave, and not the same to the last bit: what is made from it is
        marked as recomputed. In an encoder–decoder the text is the decoder's; the encoder's output is the
        run's, unless `encodes` has it run again.
        """
        ...


class PromptedRun(Protocol):
    """What has begun a call with a prompt, and can begin it with another."""

    branches: Branches
    """Of all its calls."""

    def texts(self, edits: Edits) -> list[str]:
        """What every sequence begins with; of a chat the last message of the user. Raises CannotEdit."""
        ...

    def prompt_length(self, edits: Edits) -> int:
        """T of the padded prompts, where `generate` reads them. Raises CannotEdit."""
        ...

    def beside(self, branches: Branches) -> SamplingLoop:
        """A call with another prompt beside the suspended one, at its start. Whoever asks puts everything back.

        Raises CannotEdit: `generate` does not take it.
        """
        ...


@dataclass
class Generation:
    """One `generate` call.

    Attributes:
        input_ids: (B, T) prompt and tokens so far; padding included. None when another loop than ours decodes.
        attention_mask: (B, T_prompt) which positions of the prompt are no padding; None when it has none.
        prompt_length: T of the padded prompt.
        step: index of the current step, 0 is the prefill.
        calls: how many calls of the whole model have begun, where another loop than ours makes them.
        unfinished: (B,) 1 for sequences that go on.
        selection: the choice of this step's token, between the forward and the next step.
        tape: runs steps again; None while there is nothing to run.
        encoder: runs the encoder of an encoder–decoder model again; None without one.
        is_own_loop: whether our loop decodes, and tells its places.
        has_flags: whether somebody reads, once a step, what was found out late.
        encoded: what an encoder has read, where this is the text of a decoder.
        is_forward: whether it is one forward, of a model that does not generate or by itself.
        records_graph: whether gradients may go back through what it returns.
        answers: what such a model says about each sequence, when it is over.
        seconds: that choosing the tokens so far has taken, stops not counted.
        diverged_at: step that chose another token when it ran again: the run does not repeat itself.
        branches: the futures of this call, and its edits.
        run: what has begun it with a prompt; None where a program did.
    """

    input_ids: Tensor | None = None
    attention_mask: Tensor | None = None
    prompt_length: int = 0
    step: int = 0
    calls: int = 0
    unfinished: Tensor | None = None
    selection: Selection | None = None
    tape: Tape | None = None
    encoder: EncoderCall | None = None
    is_own_loop: bool = False
    has_flags: bool = False
    encoded: Generation | None = None
    is_forward: bool = False
    records_graph: bool = False
    is_over: bool = False
    answers: list[list[Answer]] = field(default_factory=list)
    seconds: float = 0.0
    diverged_at: int | None = None
    branches: Branches = field(default_factory=Branches)
    run: PromptedRun | None = None

    @property
    def records(self) -> list[StepRecord]:
        """Of the steps of the present branch whose token is known."""
        return self.branches.present.records

    @property
    def edits(self) -> Edits:
        """Of the present branch."""
        return self.branches.present.edits

    @property
    def takes_prompts(self) -> bool:
        """Whether an edit may be of its prompt. It may not while an encoder runs before the steps."""
        return self.run is not None and self.run.branches is self.branches

    def prompts_of(self, edits: Edits) -> list[str] | None:
        """What every sequence begins with by a list of edits; None where no edit could be about that."""
        if self.run is None or not self.takes_prompts:
            return None
        try:
            return self.run.texts(edits)
        except CannotEdit:
            return None

    @property
    def device(self) -> torch.device:
        """Of its tokens."""
        return torch.device("cpu") if self.input_ids is None else self.input_ids.device

    @property
    def sequences(self) -> int:
        """B; 1 while it is not known."""
        return 1 if self.input_ids is None else self.input_ids.shape[0]

    def require_again(self, edits: Edits | None = None) -> None:
        """That it can, with some edits. Raises CannotRunAgain, CannotEdit."""
        if self.tape is not None:
            self.tape.require_again()
        if edits is not None and self.records_graph:
            edits.require_no_parameters()

    def ends(self) -> None:
        """Nobody runs it again: what it needed for that, its cache first of all, is gone with it, as without us."""
        self.tape = self.encoder = self.selection = None
        if self.encoded is not None:
            self.encoded.ends()

    def next_tokens(self) -> Tensor | None:
        """(B,) the token of this step: the one drawn, or the one that will be drawn.

        Looking ahead draws from the same distribution with the same random state, and puts the random state back.

        Raises:
            CannotDraw: the run will fail there.
        """
        if self.selection is None or self.tape is None:
            return None
        if self.selection.tokens is not None:
            return self.selection.tokens
        with randomness.kept(self.selection.scores.device):
            return self.tape.choose(self.selection.scores)
