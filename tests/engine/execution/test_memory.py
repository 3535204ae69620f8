"""Looks that do not fit into memory are refused with numbers; what runs out of it all the same says so."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from dap_server.engine.execution import memory
from dap_server.engine.execution.memory import NotEnoughMemory
from dap_server.engine.execution.stage import Stage

GB = 10**9


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB free, and no control groups."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    write(tmp_path / "proc/meminfo", "MemTotal: 99 kB\nMemAvailable: 7812500 kB\n")
    write(tmp_path / "proc/self/cgroup", "")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_fits_is_let_through_and_what_does_not_says_how_much_is_missing(machine: Path) -> None:
    memory.require(7 * GB, "cpu", "this")
    with pytest.raises(NotEnoughMemory) as refused:
        memory.require(12 * GB, torch.device("cpu"), "the attention of 32 heads", "ask for fewer heads")
    assert str(refused.value) == (
        "the attention of 32 heads would need 12.0 GB on cpu, where 8.0 GB are free "
        "and 7.2 GB of them may be used: ask for fewer heads"
    )


def test_the_limit_of_a_container_counts(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/docker/abc\n")
    group = machine / "cgroup/docker/abc"
    write(group / "memory.max", f"{3 * GB}\n")
    write(group / "memory.current", f"{2 * GB}\n")
    write(group / "memory.stat", f"anon 5\ninactive_file {GB // 2}\n")
    assert memory.free_bytes("cpu") == 3 * GB // 2, "pages of files that nobody uses make room"
    write(group / "memory.max", "max\n")
    assert memory.free_bytes("cpu") == 8 * GB
    write(machine / "cgroup/docker/memory.max", f"{GB}\n")
    write(machine / "cgroup/docker/memory.current", "0\n")
    write(machine / "cgroup/docker/memory.stat", "")
    assert memory.free_bytes("cpu") == GB, "the group around it has a limit"


def test_the_limit_of_an_old_kernel_s_container_counts(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "3:cpuset:/\n4:memory:/not/visible/inside\n0::/\n")
    group = machine / "cgroup/memory"
    write(group / "memory.limit_in_bytes", f"{2 * GB}")
    write(group / "memory.usage_in_bytes", f"{GB}")
    write(group / "memory.stat", "total_inactive_file 0\n")
    assert memory.free_bytes("cpu") == GB


def test_where_nobody_tells_nothing_is_refused() -> None:
    assert memory.free_bytes("meta") is None
    memory.require(10**18, "meta", "this")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_memory_that_pytorch_holds_for_reuse_is_free() -> None:
    before = memory.free_bytes("cuda") or 0
    block = torch.zeros(GB // 4, device="cuda")
    assert (memory.free_bytes("cuda") or 0) <= before - GB
    del block
    assert (memory.free_bytes("cuda") or 0) >= before - GB // 10


@pytest.mark.parametrize("job", [lambda: torch.empty(10**15), lambda: bytearray(10**17)], ids=["torch", "python"])
def test_a_job_that_runs_out_of_memory_says_how_much_there_is(job: object) -> None:
    stage, is_parked = Stage(), threading.Event()
    thread = threading.Thread(target=lambda: stage.park(is_parked.set), daemon=True)
    thread.start()
    assert is_parked.wait(10)
    with pytest.raises(NotEnoughMemory, match=r"memory ran out: .*GB are free on cpu: look at less at once"):
        stage.run(job)  # type: ignore[arg-type]  # any function
    assert stage.run(lambda: 3) == 3, "the thread goes on"
    stage.resume()
    thread.join(10)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (5e15, "5000.0 TB")]
)
def test_sizes_are_in_decimal_units(count: float, text: str) -> None:
    assert memory.size(count) == text
