"""What of a run on the CPU would have the host wait for a device."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

_READING = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2", "unique_dim"}


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here, nor below
    """Keeps the names of the operations whose result the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (name := func.name().partition("::")[2].partition(".")[0]) in _READING:
            self.seen.add(name)
        return func(*args, **(kwargs or {}))
