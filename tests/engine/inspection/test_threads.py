"""Which threads of a program are listed."""

from __future__ import annotations

import threading

import pytest

from dap_server.engine.inspection.threads import Threads


def test_a_progress_bar_brings_no_thread_that_is_listed() -> None:
    done = threading.Event()
    own = threading.Thread(target=done.wait, name="own", daemon=True)
    own.start()
    try:
        tqdm = pytest.importorskip("tqdm").tqdm
        list(tqdm(range(2), disable=False, miniters=1))
        assert any(type(thread).__module__.startswith("tqdm") for thread in threading.enumerate()), "it has one"
        names = [thread.name for thread in Threads().all()]
        assert names[0] == "MainThread"
        assert "own" in names
        assert "tqdm_monitor" not in names
    finally:
        done.set()
        own.join()
