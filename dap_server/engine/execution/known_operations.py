"""The operations that torch knows, by name: what a breakpoint on one stands for."""

from __future__ import annotations

import fnmatch
import functools
from typing import NamedTuple

import torch

from dap_server.protocol.errors import did_you_mean


class Found(NamedTuple):
    """What a name stands for: names of operations, a note on them, or why there are none."""

    names: frozenset[str]
    note: str | None = None
    problem: str | None = None


def find_operations(pattern: str) -> Found:
    """Of a name or glob, with or without an overload.

    Some operations are only made of others, which run in their place outside of inference mode: `aten::softmax` is
    `aten::_softmax`, and `aten::linear` is a matrix product. The first kind is found all the same, the second is noted.
    """
    pattern = pattern.removesuffix(".default")
    known = _overloads() if "." in pattern else _names()
    if any(c in pattern for c in "*?["):
        names = frozenset(fnmatch.filter(known, pattern))
        return Found(names) if names else Found(names, None, f"torch knows no operation that matches '{pattern}'")
    if pattern not in known:
        return Found(frozenset(), None, f"torch knows no operation '{pattern}'{did_you_mean(pattern, known)}")
    if not _is_made_of_others(pattern):
        return Found(frozenset([pattern]))
    space, _, name = pattern.partition("::")
    inner = f"{space}::_{name.partition('.')[0]}"
    if inner in _names():
        return Found(frozenset([pattern, inner]), f"runs as {inner}")
    return Found(frozenset([pattern]), f"{pattern} is made of other operations, which run in its place: list them")


def _is_made_of_others(name: str) -> bool:
    overloads = [name] if "." in name else [o for o in _overloads() if o.partition(".")[0] == name]
    overloads = [o for o in overloads if not o.endswith("out")] or overloads
    return all(torch._C._dispatch_has_kernel_for_dispatch_key(o, "CompositeImplicitAutograd") for o in overloads)


@functools.cache
def _overloads() -> list[str]:
    return sorted(torch._C._dispatch_get_all_op_names())


@functools.cache
def _names() -> list[str]:
    return sorted({name.partition(".")[0] for name in _overloads()})
