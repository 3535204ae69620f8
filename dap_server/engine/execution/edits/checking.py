"""Whether an edit means something in a model: what can be said before anything runs."""

from __future__ import annotations

from dap_server.engine.anatomy.modules import Anatomy, is_called
from dap_server.engine.anatomy.tokens import require_token
from dap_server.engine.execution.breakpoints import matching_paths
from dap_server.engine.execution.edits.changes import Change
from dap_server.engine.execution.edits.edit import (
    AttentionValue,
    Expert,
    Logits,
    ModuleValue,
    Option,
    Prompt,
    StoredValue,
    Target,
    Token,
)
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.execution.watchable import holder_of
from dap_server.modelmap.patterns import PatternError, parse_pattern
from dap_server.protocol.errors import did_you_mean

_OF_NUMBERS = frozenset(
    ["set", "zero", "mean", "resample", "noise", "scale", "clamp", "steer", "projectOut", "patch"]
)  # fmt: skip
_ALLOWED: dict[type, frozenset[str]] = {
    ModuleValue: _OF_NUMBERS | {"skip"},
    AttentionValue: _OF_NUMBERS | {"freeze"},
    StoredValue: _OF_NUMBERS,
    Logits: _OF_NUMBERS | {"ban", "bias"},
    Token: frozenset(["force"]),
    Option: frozenset(["set"]),
    Expert: frozenset(["zero"]),
    Prompt: frozenset(["set"]),
}
_NAMES: dict[type, str] = {
    ModuleValue: "the value of a module",
    AttentionValue: "attention",
    StoredValue: "a stored value",
    Logits: "logits",
    Token: "the token",
    Option: "an option",
    Expert: "an expert",
    Prompt: "the prompt",
}


def require_sense(target: Target, change: Change, anatomy: Anatomy) -> None:
    """Raises CannotEdit: there is no such target in the model, or no such change of it."""
    if change.kind not in (allowed := _ALLOWED[type(target)]):
        raise CannotEdit(
            f"'{change.kind}' is no change of {_NAMES[type(target)]}: that takes {', '.join(sorted(allowed))}"
        )
    if (change.text is not None) != isinstance(target, Prompt):
        raise CannotEdit("a prompt is set to a text, and nothing else is: give its 'text'")
    size = getattr(getattr(anatomy.model, "config", None), "vocab_size", None)
    for token in change.tokens if isinstance(size, int) else ():
        require_token(token, size or 0)
    match target:
        case ModuleValue(value="input") if change.kind == "skip":
            raise CannotEdit("what a module is given cannot be skipped, only what it returns")
        case ModuleValue() | AttentionValue() | Expert():
            modules_of(target.path, anatomy)
        case StoredValue(kind="parameter", name=name):
            if holder_of(name, anatomy) is None:
                known = [path for path, _ in (*anatomy.model.named_parameters(), *anatomy.model.named_buffers())]
                raise CannotEdit(f"no parameter or buffer '{name}'{did_you_mean(name, known)}")
        case Option() if change.number is None:
            raise CannotEdit(f"the option '{target.name}' is set to a number")
        case _:
            pass


def modules_of(name: str, anatomy: Anatomy) -> list[str]:
    """The paths that a path, a glob or a class names. Raises CannotEdit: there are none."""
    if name == "":
        return [""]
    try:
        pattern = parse_pattern(name)
    except PatternError as error:
        raise CannotEdit(f"'{name}' names no module: {error}") from None
    if pattern.operation is not None or pattern.phase is not None:
        raise CannotEdit(f"'{name}' names no module: write a path, a glob such as '*.layers.3', or a class")
    paths = matching_paths(pattern, anatomy)
    if not paths:
        known = [*anatomy.modules, *{type(module).__name__ for module in anatomy.modules.values()}]
        raise CannotEdit(f"no module '{name}'{did_you_mean(name, known)}")
    if not any(is_called(anatomy.modules[path]) for path in paths):
        raise CannotEdit(f"'{name}' is a list of modules, which is not called itself: take one of them")
    return paths
