"""Experts of a mixture that add nothing: their weight is 0, and those of the others are as they were.

Weights are changed where the experts are given them, so that nothing comes after that would make the others larger;
where they are given none, in what the router returns.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.anatomy.modules import Anatomy, forward_of, is_called
from dap_server.engine.anatomy.routers import Router, routers
from dap_server.engine.execution.edits.edit import Edit, Expert
from dap_server.engine.execution.edits.outcomes import Outcomes, unseen
from dap_server.engine.execution.edits.selection import members
from dap_server.engine.execution.routed import logits_of, told_by

_WITH_WEIGHTS = 4
"""Parameters of the `forward` of experts that are told whom to serve: self, hidden states, numbers, weights."""


class ExpertEdits:
    """Changes what experts are given, and what routers return, in the forwards of one thread."""

    def __init__(self, anatomy: Anatomy, outcomes: Outcomes, paths: Callable[[str], frozenset[str]]) -> None:
        """`paths`: of the modules that a name names."""
        self._anatomy, self._outcomes, self._paths = anatomy, outcomes, paths
        self._sizes: dict[str, tuple[int, int]] = {}  # by router: N tokens, E experts
        self._routers: dict[str, list[Router]] = {}  # by the name in an edit

    def given(
        self, path: str, step: int, edits: Sequence[Edit], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...]:
        """The positional arguments that a module goes on with; others are replaced where they are."""
        for edit, router in self._meant(edits):
            if path == router.experts and self._are_told(router):
                values = self._without(edit, step, router, [None, *args[1:], *list(kwargs.values())])
                args = (*args[:1], *values[1 : len(args)])
                kwargs.update(zip(kwargs, values[max(len(args), 1) :], strict=True))
        return args

    def returned(self, path: str, step: int, edits: Sequence[Edit], output: Any) -> Any:
        """What a module returns to go on with."""
        for edit, router in self._meant(edits):
            if path != router.path:
                continue
            values = list(output) if isinstance(output, tuple | list) else [output]
            logits = logits_of(values, router.index)
            if logits is None:
                self._outcomes.problems[edit.id] = f"'{path}' returns no logits of experts"
                continue
            self._sizes[path] = math.prod(logits.shape[:-1]), logits.shape[-1]
            if not self._are_told(router):
                others = self._without(edit, step, router, [None if value is logits else value for value in values])
                values = [logits if value is logits else other for value, other in zip(values, others, strict=True)]
                output = type(output)(values) if isinstance(output, tuple | list) else values[0]
        return output

    def _without(self, edit: Edit, step: int, router: Router, values: list[Any]) -> list[Any]:
        """Values among which weights are, with those of one expert taken."""
        at = [i for i, value in enumerate(values) if isinstance(value, Tensor)]
        sizes = self._sizes.get(router.path)
        with unseen():
            told = told_by([values[i] for i in at], *sizes) if sizes is not None else None
            if told is None or sizes is None or (told.weights is None and told.are_numbers):
                self._outcomes.problems[edit.id] = f"'{router.path}' does not tell which weight is whose"
                return values
            numbers = values[at[told.chosen]] if told.are_numbers and told.chosen is not None else None
            is_weight = told.are_numbers or told.chosen is None  # beside marks, one weight is that of a token
            which = at[(told.weights if is_weight else told.chosen) or 0]
            value: Tensor = values[which]
            new = self._outcomes.apply(edit, step, lambda: _ablated(edit, value, numbers, sizes), value)
        return [new if i == which else other for i, other in enumerate(values)]

    def _meant(self, edits: Sequence[Edit]) -> list[tuple[Edit, Router]]:
        return [(edit, router) for edit in edits for router in self._routers_of(edit)]

    def _routers_of(self, edit: Edit) -> list[Router]:
        """Those in the modules that an edit names, and those whose experts it names."""
        assert isinstance(edit.target, Expert)
        name = edit.target.path
        if name not in self._routers:
            named = self._paths(name)
            found = routers(self._anatomy)
            self._routers[name] = [r for r in found if any(_is_in(r.path, path) or r.experts == path for path in named)]
        if not self._routers[name]:
            self._outcomes.problems[edit.id] = f"there is no router of experts in '{name}'"
        return self._routers[name]

    def _are_told(self, router: Router) -> bool:
        module = None if router.experts is None else self._anatomy.modules[router.experts]
        if module is None or not is_called(module):
            return False
        forward: Any = forward_of(type(module))
        return len(inspect.signature(forward).parameters) >= _WITH_WEIGHTS


def _is_in(path: str, other: str) -> bool:
    return other in ("", path) or path.startswith(f"{other}.")


def _ablated(edit: Edit, value: Tensor, numbers: Tensor | None, sizes: tuple[int, int]) -> Tensor | None:
    """Weights, or marks, that are 0 for one expert; None where no token was given it.

    Args:
        value: (N, K) beside the numbers of experts, else (N, E).
        sizes: N and E.

    Raises:
        CannotEdit: there is no such expert.
    """
    assert isinstance(edit.target, Expert)
    (expert,) = members([edit.target.index], sizes[1], "experts")
    taken = torch.arange(sizes[1], device=value.device) == expert if numbers is None else numbers == expert
    is_given = taken.expand(value.shape) if numbers is None else taken.reshape(value.shape)
    return value.masked_fill(is_given, 0) if bool((is_given & (value != 0)).any()) else None
