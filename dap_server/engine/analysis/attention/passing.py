"""Attention as it passes: of a module call that runs, for a condition at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import Tensor, nn

from dap_server.engine.analysis.attention.capture import Hearing
from dap_server.engine.analysis.attention.weights import AttentionCall
from dap_server.engine.analysis.missing import NotKnown
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import live_activations
from dap_server.engine.execution.probes import Enough, instrumented


class PassingAttention:
    """Listens from the beginning of a call to its end, as a replay does. Nothing of it stays in the model."""

    def __init__(
        self, path: str, module: nn.Module, call: FrameType, anatomy: Anatomy, is_aside: Callable[[], bool]
    ) -> None:
        """`is_aside`: whether what runs just now is no part of the call."""
        self._is_aside = is_aside
        self._open = contextlib.ExitStack()
        self._hearing = Hearing(path, anatomy, is_aside=is_aside)
        for outer in reversed(live_activations(call)[1:]):
            if (outer_path := anatomy.path_of(outer.module)) is not None:
                self._hearing.runs(outer_path, outer.module, outer.frame)
        self._open.enter_context(self._hearing.closed_afterwards())
        self._open.enter_context(instrumented(anatomy, self))
        self._hearing.begins(path, module, call)

    def begins(self, path: str, module: nn.Module, call: FrameType) -> None:
        if not self._is_aside():
            self._hearing.begins(path, module, call)

    def ends(self, path: str, module: nn.Module, output: Any) -> None:
        if not self._is_aside():
            with contextlib.suppress(Enough):  # which would end a replay
                self._hearing.ends(path, module, output)

    def close(self) -> None:
        self._open.close()

    @property
    def calls(self) -> list[AttentionCall]:
        return self._hearing.heard()


def last_row(calls: list[AttentionCall], path: str, head: int, sequence: int, sequences: int) -> Tensor:
    """(S,) where a head of the only call looks from the last position. Raises NotKnown."""
    if len(calls) != 1:
        heard = f"{len(calls)}, such as that of '{calls[0].path}'" if calls else "none that can be heard of"
        raise NotKnown(f"attention is known where a module computes one: '{path or 'the model'}' computes {heard}")
    (call,) = calls
    _, heads, queries, _ = call.shape
    if not 0 <= head < heads:
        raise NotKnown(f"no head {head} in '{call.path}': there are 0 to {heads - 1}")
    each = call.shape[0] // sequences
    row = sequence * each if each else min(sequence, call.shape[0] - 1)
    return call.unread_weights(row, slice(queries - 1, queries))[head, 0]
