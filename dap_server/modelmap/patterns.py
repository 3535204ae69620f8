"""Names of breakpoints: `[before:|after:]PATTERN`, where the pattern is a module path, a glob or a class name.

`aten::softmax` is an operation, wherever it runs; `PATTERN/aten::softmax` only inside the modules that PATTERN names.

In a path, `*` is one segment or part of one; a `*` that is the whole first segment, and `**` anywhere, are any number
of segments: `*.layers.3` is layer 3 wherever the layers are, `*.layers.*` every layer and nothing inside them.
"""

from __future__ import annotations

import fnmatch
import re
from typing import NamedTuple

from dap_server.modelmap.places import Phase

_NAME = re.compile(r"[\w*?.\[\]!:-]+")
_OPERATION = re.compile(r"[\w*?\[\]!]+::[\w*?\[\]!]+(\.[\w*?\[\]!]+)?")


WHOLE_MODEL = "."
"""Its name, as maps write it; its path is empty."""


class PatternError(ValueError):
    """The text is no breakpoint name; the message says why."""


class Pattern(NamedTuple):
    """What a function breakpoint names.

    Attributes:
        text: the pattern without its prefix; empty for an operation wherever it runs.
        phase: the phase that the prefix asks for, None without one.
        operation: name or glob of an operation, with or without its overload.
    """

    text: str
    phase: Phase | None
    operation: str | None = None

    @property
    def is_glob(self) -> bool:
        return any(c in self.text for c in "*?[")

    def matches_path(self, path: str) -> bool:
        return self.text == path if not self.is_glob else _path_regex(self.text).fullmatch(path) is not None

    def matches_class(self, name: str) -> bool:
        return "." not in self.text and self.text != "*" and fnmatch.fnmatchcase(name, self.text)


def parse_pattern(name: str) -> Pattern:
    """Raises PatternError with what is wrong, for what no model could have."""
    text = name.strip()
    phase: Phase | None = None
    prefix, colon, rest = text.partition(":")
    if colon and not rest.startswith(":"):  # aten::softmax has two
        if prefix == "before":
            phase = "before"
        elif prefix == "after":
            phase = "after"
        else:
            raise PatternError(f"unknown prefix '{prefix}:': use 'before:' or 'after:'")
        text = rest.strip()
    operation: str | None = None
    if "/" in text or "::" in text:
        text, operation = _split_operation(text)
        if not text:
            return Pattern("", phase, operation)
    if not text:
        raise PatternError("a name is missing: give a module path, a glob such as '*.layers.3', or a class")
    if not _NAME.fullmatch(text):
        bad = next(c for c in text if not _NAME.fullmatch(c))
        raise PatternError(f"'{bad}' (column {text.index(bad) + 1}) cannot be part of a module path, glob or class")
    if text.count("[") != text.count("]"):
        raise PatternError("'[' without ']'")
    if text == WHOLE_MODEL:
        return Pattern(text, phase, operation)
    if "..." in text or text.startswith(".") or text.endswith(".") or ".." in text:
        raise PatternError("an empty path segment: two dots in a row, or a dot at an end")
    return Pattern(text, phase, operation)


def _split_operation(text: str) -> tuple[str, str]:
    """What stands before the `/`, empty without one, and the operation."""
    place, slash, operation = text.rpartition("/")
    if not _OPERATION.fullmatch(operation):
        raise PatternError(f"'{operation}' is no operation: write it as in 'aten::softmax' or '*.mlp/aten::silu'")
    if slash and not place:
        raise PatternError("before the '/' a module is missing: '*.mlp/aten::silu', or 'aten::silu' for everywhere")
    return place, operation


def _path_regex(text: str) -> re.Pattern[str]:
    segments = text.split(".")
    parts: list[str] = []
    for i, segment in enumerate(segments):
        last = i == len(segments) - 1
        if segment == "**" or (segment == "*" and i == 0 and not last):
            parts.append(r"(?:[^.]+(?:\.[^.]+)*)?" if last else r"(?:[^.]+\.)*")
        else:
            parts.append(_segment_regex(segment) + ("" if last else r"\."))
    return re.compile("".join(parts))


def _segment_regex(segment: str) -> str:
    return "".join(_token_regex(token) for token in re.findall(r"\[!?[^\]]+\]|.", segment))


def _token_regex(token: str) -> str:
    if token == "*":
        return "[^.]*"
    if token == "?":
        return "[^.]"
    if len(token) > 2 and token.startswith("["):
        return token.replace("[!", "[^", 1)
    return re.escape(token)
