"""Threads of ours, which no debugger of Python should see."""

from __future__ import annotations

import threading


def hide_from_debuggers(thread: threading.Thread) -> None:
    """Keeps debugpy from suspending and listing a thread of ours (both marks are pydevd's)."""
    thread.pydev_do_not_trace = True  # type: ignore[attr-defined]
    thread.is_pydev_daemon_thread = True  # type: ignore[attr-defined]
