"""Own messages that tell what edits did, how branches differ, and what a change would do everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.llm.tiles import Tile
from dap_server.protocol.llm.tokens import Token
from dap_server.protocol.messages import SafeUInt, Struct, UInt31


class LikelyToken(Token):
    """A token, or a label, and how likely it is."""

    probability: float | None = None
    """Missing, as every number of a model may be, where it is not finite."""


class Distance(Struct):
    """Between two distributions of the next token, in float64."""

    same: bool
    """Whether they are made of the same logits, to the last bit."""
    kl: float | None = None
    """Divergence of the second from the first, in nats; missing where it is not finite, as where a token is banned."""
    total_variation: float | None = None
    """The share of the probability that moved, 0 to 1."""


class EffectArguments(Struct):
    """`llm/editEffect`: what edits of the present branch did in a step."""

    ids: Annotated[list[UInt31], Meta(min_length=1)] | None = None
    """Of edits; all of the list when missing."""
    step: SafeUInt | None = None
    """The first that they change when missing. In a later one, the same text is read without them."""
    thread_id: int | None = None
    """The sequence that is changed most when missing."""


class EffectLayer(Struct):
    """How far the residual stream moved at one place, |new - old| / |old|."""

    path: str
    """Of the layer behind which it is; empty for what goes into the first one."""
    last: float | None = None
    """At the last position."""
    largest: float | None = None
    """Of all positions of the step."""


class EffectOutlier(Struct):
    """An edit whose values are far outside of the range of their place."""

    id: UInt31
    where: str
    """Path of the module, or name of the parameter."""
    factor: float | None = None
    """How many times as large as the place's own, by norm or largest number; missing where values are not finite."""


class EditProblem(Struct):
    """Why an edit could not be applied."""

    id: UInt31
    text: str


class EffectResponseBody(Struct):
    """The answer to `llm/editEffect`."""

    ids: list[UInt31]
    step: SafeUInt
    sequence: SafeUInt
    reach: Literal["nothing", "layers", "choice", "logits"]
    """How far it came: all is the same to the last bit; layers moved, and not the logits; only the choice of the token
    is another; the logits are."""
    text: list[str]
    """For people: what it did, then what there is to warn of."""
    logits: Distance
    """Between the softmax of the model's logits without the edits and with them, before any logits processor."""
    before: LikelyToken
    """Most likely by the logits."""
    after: LikelyToken
    layers: list[EffectLayer]
    """Empty where there is no residual stream to read."""
    drawn: Distance | None = None
    """The same behind all logits processors; missing in another decoding loop."""
    chosen_before: Token | None = None
    chosen_after: Token | None = None
    position: SafeUInt | None = None
    """Of a model that does not generate: whose logits these are, the one where they moved most."""
    died_out: str | None = None
    """The first layer from which on nothing moved by more than rounding; missing where it reached the end, or began
    nowhere."""
    outliers: list[EffectOutlier] = []
    unmet: list[UInt31] = []
    """Edits that had nothing to change in this step."""
    problems: list[EditProblem] = []


class CompareBranchesArguments(Struct):
    """`llm/compareBranches`: two branches of the run, each run along its own text with its own edits."""

    a: UInt31
    b: UInt31
    thread_id: int = 1


class ComparedStep(Struct):
    """One step of both."""

    step: SafeUInt
    logits: Distance
    a: LikelyToken | None = None
    """That was chosen, with its probability behind all logits processors; missing where the branch has not come so
    far."""
    b: LikelyToken | None = None


class ComparedPosition(Struct):
    """A position of the texts that the steps since the fork work on."""

    position: SafeUInt
    differs: bool
    """Whether another token stands there."""


class CompareBranchesResponseBody(Struct):
    """The answer to `llm/compareBranches`."""

    a: UInt31
    b: UInt31
    sequence: SafeUInt
    steps: list[ComparedStep]
    """From the fork on, as far as both go."""
    layers: list[str]
    """Paths; empty for what goes into the first one."""
    positions: list[ComparedPosition]
    fork: SafeUInt | None = None
    """The first step that is run with other edits, or chose another token; missing where there is none."""
    divergence: SafeUInt | None = None
    """The first step that chose another token; missing where no step that both have done did."""
    movement: Tile | None = None
    """Layers × positions: |b - a| / |a| of the residual stream."""
    problem: str | None = None
    """Why there is no `movement`."""


class SweepArguments(Struct):
    """`llm/sweep`: one change at every layer and position of the frame's step, a forward for each."""

    frame_id: int
    change: Literal["patch", "zero", "mean"] = "patch"
    """The value of another text's run takes the place; zeros do; the mean over the step's positions does."""
    source: str | None = None
    """That text, for a patch."""
    layers: list[int] | None = None
    """Indices, -1 for what goes into the first layer; all when missing."""
    positions: list[int] | None = None
    """In the text, padding included, from its end when negative; all of this step when missing."""
    source_positions: list[int] | None = None
    """In the other text, one for each of `positions`; needed where the texts differ in length."""
    modules: str | None = None
    """A glob or class of modules instead of the layers, such as `*.mlp`; `layers` counts these then."""
    target: int | str | None = None
    """A token whose rise is looked for; when missing the most likely one of the other text, or of this one."""
    foil: int | str | None = None
    """The token that it is compared with; when missing the most likely one of this text that is not the target."""


class SweepSaying(Struct):
    """What a run says of the two tokens."""

    probability: float | None = None
    """Of the target, by the model's own logits."""
    difference: float | None = None
    """Logit of the target less that of the foil."""


class SweepRow(Struct):
    """A line of the table."""

    index: int
    path: str
    """Empty for what goes into the first layer."""


class SweepColumn(Struct):
    """A position that was changed."""

    position: SafeUInt
    token: Token


class SweepResponseBody(Struct):
    """The answer to `llm/sweep`: numbers by rows and columns."""

    step: SafeUInt
    target: Token
    foil: Token
    rows: list[SweepRow]
    columns: list[SweepColumn]
    base: SweepSaying
    """Without a change."""
    probability: Tile
    """Of the target."""
    difference: Tile
    kl: Tile
    """Divergence of the next token's distribution from that without a change, in nats."""
    source: SweepSaying | None = None
    """Of the other text."""
    recovered: Tile | None = None
    """The share of the way from the difference of `base` to that of `source`."""
