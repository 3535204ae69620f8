"""How much memory is free, so that a look that would need more says so instead of failing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from dap_server.protocol.errors import RequestError

USABLE = 0.9
"""Of what is free, so much may be asked for at once: the model, and others, need some to go on."""

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")

_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory")
"""What PyTorch's allocators say in a plain RuntimeError."""


class NotEnoughMemory(RequestError):
    """It would need more memory than is free; the text has both numbers and says what to do."""

    id = 32


def require(needed: int, device: torch.device | str, what: str, instead: str = "ask for fewer rows") -> None:
    """Refuses what would need too much.

    Args:
        needed: bytes that will be allocated at the same time, a little too high rather than too low.
        what: begins the sentence: `the attention of 32 heads`.
        instead: what the user can do.

    Raises:
        NotEnoughMemory: it does not fit into what may be used of the free memory of a device.
    """
    free = free_bytes(device)
    if free is not None and needed > USABLE * free:
        raise NotEnoughMemory(
            f"{what} would need {size(needed)} on {torch.device(device)}, where {size(free)} are free "
            f"and {size(USABLE * free)} of them may be used: {instead}"
        )


def used_bytes(device: torch.device) -> int | None:
    """What is in use on a device that has memory of its own, else by this process; None where nobody tells."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        pages = int((_PROC / "self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_bytes(device: torch.device | str) -> int | None:
    """What can be allocated on a device now; None where nobody tells."""
    device = torch.device(device)
    if device.type == "cpu":
        known = [free for free in (_host(), *_cgroups()) if free is not None]
        return min(known, default=None)
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return None


def explained(error: BaseException) -> BaseException:
    """What a job raised; where memory ran out, as an error that says how much there is."""
    if isinstance(error, MemoryError):
        device = "cpu"
    elif isinstance(error, torch.OutOfMemoryError):
        device = "cuda"
    elif isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY):
        device = "cpu"
    else:
        return error
    reason = (str(error).splitlines() or [""])[0] or "more was needed than there is"
    free = free_bytes(device) if device == "cpu" or torch.cuda.is_available() else None
    there = "" if free is None else f"; {size(free)} are free on {device}"
    return NotEnoughMemory(f"memory ran out: {reason}{there}: look at less at once")


def size(count: float) -> str:
    """`1.5 GB`: bytes in decimal units."""
    value, units = count, iter(("bytes", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while value >= 1000 and unit != "TB":
        value, unit = value / 1000, next(units)
    return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"


def _host() -> int | None:
    """What Linux can hand out without swapping, caches that it would drop included."""
    try:
        for line in (_PROC / "meminfo").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "MemAvailable":
                return int(rest.split()[0]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on macOS and Windows
        return None


def _cgroups() -> Iterator[int]:
    """What is left below the limits of the control groups that this process is in, containers among them."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, names = _CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = _CGROUPS / "memory"
        else:
            continue
        group = Path(path.lstrip("/"))
        for folder in (group, *group.parents):  # a limit above counts too; in a container only the root may be there
            if (left := _left(root / folder, *names)) is not None:
                yield left


def _left(folder: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    """Below the limit of one group; None when it has none. File pages that nobody uses would be dropped."""
    try:
        allowed = int((folder / limit).read_text())  # `max` is no number
        used = int((folder / usage).read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(allowed - used + int(statistics.get(reclaimable, 0)), 0)
    except (OSError, ValueError):
        return None
