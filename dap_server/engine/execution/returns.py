"""Watching frames return: the end of a module call that began before anybody asked for it.

A hook registered on a running module does not fire in that call, so its end is seen where Python returns from it. The
profile function runs only between a request to step and its stop, on the model thread alone.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

RETURNS = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}


class ReturnWatch:
    """Calls back when one of a few frames of this thread returns. Used on the model thread only."""

    def __init__(self) -> None:
        self._watched: dict[FrameType, Callable[[Any], None]] = {}
        self._previous: Any = None
        self._is_on = False

    def watch(self, frame: FrameType, returned: Callable[[Any], None]) -> None:
        """`returned` gets the value; it is not called when the frame ends by an exception."""
        self._watched[frame] = returned
        if not self._is_on:
            self._previous = sys.getprofile()
            sys.setprofile(self._profile)
            self._is_on = True

    def clear(self) -> None:
        self._watched.clear()
        if self._is_on:
            sys.setprofile(self._previous)
            self._previous = None
            self._is_on = False

    def _profile(self, frame: FrameType, event: str, value: Any) -> None:
        if event != "return" or frame not in self._watched:
            return
        returned = self._watched.pop(frame)
        if value is not None or frame.f_code.co_code[frame.f_lasti] in RETURNS:
            returned(value)
