"""What is told of something long, and when."""

from __future__ import annotations

import pytest

from dap_server.engine.execution.progress import Progress


class Watched:
    """Progress on a clock of the test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.told: list[tuple[str | None, float]] = []
        self.progress = Progress()
        self.progress.tell = lambda title, percentage: self.told.append((title, percentage))
        monkeypatch.setattr("time.monotonic", lambda: self.now)

    def reached(self, seconds: float, done: int, total: int) -> None:
        self.now += seconds
        self.progress.reached(done, total)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


def test_what_is_quick_says_nothing(watched: Watched) -> None:
    watched.progress.begins("look")
    watched.reached(0.5, 1, 2)
    watched.reached(0.4, 2, 2)
    watched.progress.ends()
    watched.reached(9.0, 1, 2)  # nothing is going on
    assert watched.told == []


def test_what_is_long_is_told_now_and_then_and_its_end_once(watched: Watched) -> None:
    watched.progress.begins("look")
    for done in range(1, 9):
        watched.reached(0.2, done, 10)
    watched.progress.ends()
    watched.progress.ends()
    assert watched.told == [("look", 50.0), ("look", 70.0), (None, 100.0)]


def test_parts_are_of_the_whole_and_it_never_goes_back(watched: Watched) -> None:
    watched.progress.begins("search")
    for part in range(4):
        with watched.progress.part(part, 4):
            watched.reached(1.0, 1, 2)
    watched.reached(1.0, 0, 4)
    assert [percentage for _, percentage in watched.told] == [12.5, 37.5, 62.5, 87.5, 87.5]


def test_what_begins_anew_begins_at_nothing(watched: Watched) -> None:
    watched.progress.begins("one")
    watched.reached(2.0, 9, 10)
    watched.progress.ends()
    watched.progress.begins("two")
    watched.now += 2.0
    watched.progress.goes_on()
    assert watched.told == [("one", 90.0), (None, 100.0), ("two", 0.0)]
