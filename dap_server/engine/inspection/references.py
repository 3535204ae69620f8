"""Numbers for what a client may ask about at a stop. They are never used twice, and end with their stop."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.rows import Children, Row
from dap_server.engine.inspection.tensors.raw_bytes import Memory
from dap_server.protocol.errors import RequestError


class StaleReference(RequestError):
    """The number was never given out, or belongs to an earlier stop."""

    id = 31
    show_user = False


class References:
    """Frames, containers and the bytes of tensors of the present stop, by number."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._frames: dict[int, Frame] = {}
        self._children: dict[int, Children] = {}
        self._of: dict[int, Frame | None] = {}
        self._listed: dict[int, dict[str, Row]] = {}
        self._memories: dict[str, tuple[Memory, str | None, Frame | None]] = {}

    def add_frame(self, frame: Frame) -> int:
        number = next(self._ids)
        self._frames[number] = frame
        return number

    def add_children(self, children: Children | None, frame: Frame | None = None) -> int:
        """0, DAP's 'no children', for None. `frame`: in which their expressions are meant."""
        if children is None:
            return 0
        number = next(self._ids)
        self._children[number], self._of[number] = children, frame
        return number

    def list(self, number: int, rows: Iterable[Row]) -> None:
        """Rows of these children were told."""
        self._listed.setdefault(number, {}).update((row.name, row) for row in rows)

    def row(self, number: int, name: str) -> Row | None:
        """One of those that were told. Raises StaleReference."""
        self.children(number)
        return self._listed.get(number, {}).get(name)

    def frame_of(self, number: int) -> Frame | None:
        """In which the expressions of these children are meant. Raises StaleReference."""
        self.children(number)
        return self._of[number]

    def add_memory(self, memory: Memory | None, expression: str | None, frame: Frame | None) -> str | None:
        """A text that DAP calls a memory reference; `expression` names the tensor in a frame."""
        if memory is None:
            return None
        reference = f"tensor-{next(self._ids)}"
        self._memories[reference] = memory, expression, frame
        return reference

    def frame(self, number: int) -> Frame:
        """Raises StaleReference."""
        if number not in self._frames:
            raise StaleReference(f"frame {number} is not of this stop: ask for the stack again")
        return self._frames[number]

    def children(self, number: int) -> Children:
        """Raises StaleReference."""
        if number not in self._children:
            raise StaleReference(f"variables reference {number} is not of this stop: ask for the scopes again")
        return self._children[number]

    def memory(self, reference: str) -> Memory:
        """Raises StaleReference."""
        if reference not in self._memories:
            raise StaleReference(f"memory reference '{reference}' is not of this stop: ask for the variables again")
        return self._memories[reference][0]

    def name_of_memory(self, reference: str) -> tuple[str | None, Frame | None]:
        """What names its tensor, and in which frame. Raises StaleReference."""
        self.memory(reference)
        return self._memories[reference][1:]

    def forget(self) -> None:
        """The stop is over."""
        self._frames.clear()
        self._children.clear()
        self._of.clear()
        self._listed.clear()
        self._memories.clear()
