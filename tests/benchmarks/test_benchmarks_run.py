"""The benchmarks still run. What they measure is looked at by people: no test depends on time."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import torch

from benchmarks.__main__ import BENCHMARKS, main


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Puts back what `--threads` sets, here and for children. One thread does not wait for a busy core."""
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.usefixtures("threads")
def test_gives_its_rows(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--threads", "1", name]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert rows
    assert all(re.search(r"\d", row.split("|")[2]) for row in rows), "every row has a number"


def test_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no_such_benchmark"])
    assert "there are startup" in capsys.readouterr().err
