"""Own messages that change a run: edits, which are on a list and can be taken back, saved and loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from dap_server.protocol.messages import SafeInt, SafeUInt, Struct, UInt31

Number = float | Literal["nan", "inf", "-inf"]
"""JSON has no word for the last three."""

Numbers = Annotated[list[SafeInt], Meta(min_length=1)]


class EditTensor(Struct):
    """Numbers of an edit, to the last bit."""

    dtype: str
    """As torch names it: `float32`."""
    shape: list[SafeUInt]
    data: str | None = None
    """Bytes of the elements, little-endian and row by row, in base64. Lists of edits leave it out unless asked for."""


class EditTarget(Struct):
    """Which value is changed, and which elements of it; all of them where nothing is said."""

    kind: Literal["module", "attention", "parameter", "cache", "logits", "token", "option", "expert", "prompt"]
    path: str | None = None
    """Of a module, or a glob of paths; of attention that of its module, of an expert that of the mixture."""
    value: Literal["input", "output", "heads", "pattern", "scores"] | None = None
    """Of a module what it is given or, when missing, returns. Of attention what its heads give (when missing), where
    they look, or the scores before the softmax."""
    part: str | SafeUInt | None = None
    """Which argument of a module, by name or number, or which item of what it returns; the first tensor if missing."""
    name: str | None = None
    """Of a parameter or buffer, of an entry of the cache such as `3.keys`, of an option of sampling."""
    expert: SafeUInt | None = None
    """Its number."""
    sequences: Numbers | None = None
    """Of the batch, from 0. Of a token and a prompt one at most."""
    positions: Numbers | None = None
    """In the text, padding included; negative ones from the end of the text as it is in each step."""
    neurons: Numbers | None = None
    """In the last axis."""
    index: str | None = None
    """As Python has it, `[0, -1, 3:5]`, instead of sequences, positions and neurons."""
    heads: Numbers | None = None
    queries: Numbers | None = None
    """Positions that look."""
    keys: Numbers | None = None
    """Positions that are looked at."""


class EditSource(Struct):
    """Where the values of a patch are from: another prompt or branch, module, position or step."""

    prompt: str | None = None
    branch: SafeUInt | None = None
    path: str | None = None
    """The target's own when missing."""
    positions: Numbers | None = None
    """The target's own when missing."""
    step: SafeUInt | None = None
    """The prefill, step 0, of another prompt; else the step of the frame."""


class EditChange(Struct):
    """What becomes of the elements."""

    kind: Literal[
        "set",
        "zero",
        "mean",
        "resample",
        "noise",
        "scale",
        "clamp",
        "steer",
        "projectOut",
        "skip",
        "freeze",
        "patch",
        "force",
        "ban",
        "bias",
    ]
    number: Number | None = None
    """The value to `set`, the factor to `scale` with, the standard deviation of `noise`, the coefficient to `steer`
    with, the `bias`."""
    low: Number | None = None
    high: Number | None = None
    seed: SafeInt | None = None
    """Of `noise` and `resample`; 0 when missing."""
    tokens: Annotated[list[SafeUInt | str], Meta(min_length=1)] | None = None
    """To `force`, `ban` or `bias`: ids, or their text, quoted or not."""
    tensor: EditTensor | None = None
    """The values to `set` or `patch`, the vector to `steer` by or to `projectOut`, the vectors to take the `mean` of or
    to `resample` from."""
    source: EditSource | None = None
    """Of a `patch`, instead of a tensor; it stays beside the tensor that it was."""
    text: str | None = None
    """The prompt to `set`: what the run begins with; of a chat instead of the last message of the user."""


class EditSteps(Struct):
    """The steps in which an edit is applied; 0 is the prefill."""

    first: SafeUInt = 0
    last: SafeUInt | None = None
    """Itself included; all that follow when missing."""


class EditSpec(Struct):
    """An edit as data."""

    target: EditTarget
    change: EditChange
    steps: EditSteps | None = None
    """As the request says when missing."""
    enabled: bool = True


class EditInfo(Struct):
    """An edit of the present branch."""

    id: UInt31
    spec: EditSpec
    text: str
    """What it does, in one line."""
    enabled: bool
    problem: str | None = None
    """Why it cannot be applied."""


StepsOfEdit = Literal["this", "onwards", "all"]
"""The step of the frame, from it on, or from the prefill on."""


class EditArguments(Struct):
    """`llm/edit`: changes the run, which then stands where it stood, or at the first step that is changed."""

    edits: Annotated[list[EditSpec], Meta(min_length=1)]
    frame_id: int | None = None
    """Whose step is meant; the top one's when missing. An edit in the history makes a branch."""
    steps: StepsOfEdit | None = None
    """Of edits that do not say it. When missing: of a token this one, of everything else onwards."""


class EditsResponseBody(Struct):
    """The answer to all requests that change the list, and to `llm/edits`: the list of the present branch."""

    edits: list[EditInfo]
    forked_from: UInt31 | None = None
    """The branch that is left, where this made another one."""


class EditsArguments(Struct):
    """`llm/edits`."""

    with_data: bool = False
    """Whether the numbers of tensors are wanted too."""


class ChangeEditArguments(Struct):
    """`llm/changeEdit`: switches an edit on or off, or puts another in its place."""

    id: UInt31
    enabled: bool | None = None
    spec: EditSpec | None = None


class UndoEditArguments(Struct):
    """`llm/undoEdit`: takes an edit off the list."""

    id: UInt31 | None = None
    """The last one when missing."""
    all: bool = False


class EditsFileArguments(Struct):
    """`llm/saveEdits` and `llm/loadEdits`: the list as a JSON file."""

    file: str
    replace: bool = False
    """Whether a file that is there already may be overwritten; of loading, whether the list is emptied first."""


class SaveEditsResponseBody(Struct):
    """The answer to `llm/saveEdits`."""

    file: str
    edits: SafeUInt
    """How many."""


class EditsFile(Struct):
    """What such a file has."""

    version: Literal[1]
    model: str
    """Class of the model that they were made for."""
    edits: list[EditSpec]
