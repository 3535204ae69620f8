"""Hooks of ours on modules of somebody else's, who may copy or save them."""

from __future__ import annotations

import functools
from contextlib import nullcontext
from typing import Any


class OwnHook(functools.partial[Any]):
    """A hook as any other. In a copy of its module, and in one that is saved, it does nothing and is none of ours."""

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # which takes whatever it is given, and returns nothing
