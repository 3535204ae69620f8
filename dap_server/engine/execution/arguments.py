"""The model's arguments from step to step: masks and positions grow with the tokens, the rest stays."""

from __future__ import annotations

from operator import is_
from typing import Any

from torch import Tensor
from transformers.generation.utils import ALL_CACHE_NAMES


class Growing:
    """Learns which arguments grow, and so can take them back without having kept them."""

    def __init__(self) -> None:
        self._axes: dict[str, int] = {}
        self._seen: dict[str, Any] = {}  # the arguments as they were when it last looked
        self._seen_at = -1  # the step that began with them
        self._steady: list[str] = []  # those that did not grow up to then

    def might_have_changed(self, arguments: dict[str, Any]) -> bool:
        """Whether one that does not grow is another object than when it last looked. Quick: it is asked every step."""
        if len(arguments) != len(self._seen):
            return True
        return not all(map(is_, map(arguments.get, self._steady), map(self._seen.get, self._steady)))

    def learn(self, step: int, arguments: dict[str, Any]) -> bool:
        """Whether arguments have changed, since this was last asked, in another way than by a column for every step.

        `arguments`: those that step `step` begins with.
        """
        before, steps = self._seen, step - self._seen_at
        self._seen, self._seen_at = dict(arguments), step
        changed = len(before) != len(arguments)
        for name, value in arguments.items():
            was = before.get(name)
            if value is was or name in ALL_CACHE_NAMES:
                continue
            axis = _grown_axis(was, value, steps)
            if axis is None:
                changed = True
            else:
                self._axes[name] = axis
        self._steady = [name for name in arguments if name not in self._axes and name not in ALL_CACHE_NAMES]
        return changed

    def cropped(self, arguments: dict[str, Any], steps: int) -> dict[str, Any]:
        """The arguments as they were some steps before."""
        earlier = dict(arguments)
        for name, axis in self._axes.items() if steps else ():
            if isinstance(value := arguments.get(name), Tensor):
                earlier[name] = value.narrow(axis, 0, value.shape[axis] - steps)
        return earlier


def _grown_axis(before: Any, after: Any, steps: int) -> int | None:
    """Along which axis a tensor has become longer by one a step, if that is all."""
    if not isinstance(before, Tensor) or not isinstance(after, Tensor) or before.dim() != after.dim():
        return None
    grown = [i for i, (a, b) in enumerate(zip(before.shape, after.shape, strict=True)) if a != b]
    return grown[0] if len(grown) == 1 and after.shape[grown[0]] == before.shape[grown[0]] + steps else None
