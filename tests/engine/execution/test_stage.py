"""The parked thread as a worker: every job is run while it is parked, or refused."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dap_server.engine.execution.stage import Stage, reporting
from dap_server.protocol.errors import Cancelled, NotStopped


@contextmanager
def parked() -> Iterator[tuple[Stage, threading.Thread]]:
    stage, is_parked = Stage(), threading.Event()
    thread = threading.Thread(target=lambda: stage.park(is_parked.set), daemon=True)
    thread.start()
    assert is_parked.wait(10)
    yield stage, thread
    if stage.is_parked:
        stage.resume()
    thread.join(10)
    assert not thread.is_alive()


def test_jobs_run_on_the_parked_thread_and_return_or_raise() -> None:
    with parked() as (stage, thread):
        assert stage.run(threading.get_ident) == thread.ident
        with pytest.raises(ZeroDivisionError):
            stage.run(lambda: 1 // 0)
        assert stage.run(lambda: 3) == 3


def test_nothing_runs_while_nothing_is_parked() -> None:
    stage = Stage()
    with pytest.raises(NotStopped):
        stage.run(lambda: 1)
    with pytest.raises(NotStopped):
        stage.resume()


def test_resuming_cancels_what_waits_and_refuses_what_comes() -> None:
    with parked() as (stage, _):
        begun, go_on = threading.Event(), threading.Event()
        outcomes: list[str] = []

        def ask(job: object) -> None:
            try:
                stage.run(job)  # type: ignore[arg-type]  # any function
                outcomes.append("done")
            except (Cancelled, NotStopped):  # whichever of the two came first
                outcomes.append("refused")

        def slow() -> None:
            begun.set()
            assert go_on.wait(10)

        askers = [threading.Thread(target=ask, args=(job,)) for job in (slow, lambda: outcomes.append("ran late"))]
        askers[0].start()
        assert begun.wait(10)
        askers[1].start()
        stage.resume()
        go_on.set()
        for asker in askers:
            asker.join(10)
        assert outcomes == ["refused", "refused"]
        with pytest.raises(NotStopped):
            stage.run(lambda: 1)


def test_a_cancelled_job_stays_cancelled_when_another_one_is_posted() -> None:
    with parked() as (stage, _):
        begun, cancelled = threading.Event(), threading.Event()
        seen: list[str] = []

        def long_job() -> None:
            begun.set()
            assert cancelled.wait(10)
            try:
                stage.check_cancelled()
                seen.append("went on")
            except Cancelled:
                seen.append("ended")
                raise

        def ask() -> None:
            with pytest.raises(Cancelled):
                stage.run(long_job)

        asker = threading.Thread(target=ask)
        asker.start()
        assert begun.wait(10)
        stage.cancel()
        asker.join(10)
        second = threading.Thread(target=lambda: seen.append(str(stage.run(lambda: 2))))
        second.start()
        cancelled.set()
        second.join(10)
        assert seen == ["ended", "2"]


def test_long_work_in_a_job_tells_how_far_it_is_and_ends_when_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dap_server.engine.execution.progress.QUIET_SECONDS", 0.0)
    with parked() as (stage, _):
        told: list[tuple[str | None, float]] = []
        stage.progress.tell = lambda title, percentage: told.append((title, percentage))
        stage.run(lambda: reporting("Counting")(1, 4))
        assert told == [("Counting", 25.0), (None, 100.0)]
        outcomes: list[str] = []

        def count() -> None:
            report = reporting("Counting")
            stage.cancel()
            try:
                report(2, 4)
            except Cancelled:
                outcomes.append("ended")
                raise

        with pytest.raises(Cancelled):
            stage.run(count)
        assert stage.run(lambda: outcomes) == ["ended"]


def test_on_a_thread_that_is_not_parked_nobody_is_told() -> None:
    reporting("Counting")(1, 2)


def test_a_signal_that_raises_at_a_stop_ends_it_and_the_stage_can_be_used_again() -> None:
    stage, told = Stage(), list[str]()
    stage.left = lambda: told.append("left")
    with pytest.raises(KeyboardInterrupt):
        stage.park(lambda: signal.raise_signal(signal.SIGINT))
    assert told == ["left"]
    assert not stage.is_parked
    with pytest.raises(NotStopped):
        stage.run(lambda: 1)
    stage.park(stage.resume)
