"""A program in this process, from its first line to the end of the interpreter, which ends as Python ends."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from dap_server.engine.program.script import Script, forget_ours

INTERRUPTED = 130
"""What a shell shows of a program that Ctrl+C has ended."""
NO_INPUT = (
    "the program reads input, and the debug console has none to give: "
    'set "console": "integratedTerminal" in the launch configuration\n'
)


def run_program(
    script: Script,
    ends: Callable[[int], None],
    say: Callable[[str], None],
    entered: Callable[[FrameType], None] | None = None,
    raised: Callable[[BaseException], None] = lambda _error: None,
) -> NoReturn:
    """Runs it on this thread, and leaves the rest to the interpreter: its other threads and its exit handlers.

    Args:
        script: what is run.
        ends: is told the exit status, as far as it is known, when nothing of the program is left to run.
        say: gets what the debugger has to say of the end.
        entered: is called at the first line, before that runs.
        raised: is given what ends the program, before anybody is told, the program's own hook included.
    """
    end = _End(ends)
    atexit.register(end.reached)  # before any handler of the program, which makes it the last
    try:
        script.run(entered)
    except SystemExit as leaving:
        end.code = _status(leaving)
        raise
    except KeyboardInterrupt as interrupt:
        end.code = INTERRUPTED
        _tell(interrupt)
        sys.excepthook = lambda *_: None  # it is told; the interpreter still has to end as by the signal
        raise
    except BaseException as error:
        end.code = 1
        raised(error)
        _tell(error)
        if isinstance(error, EOFError) and _has_no_input():
            say(NO_INPUT)
        sys.exit(1)
    sys.exit(0)


def end_program(release: Callable[[], None]) -> None:
    """Asks this process to end, and what it has started, as a shell would.

    A handler of the program's may tidy up: for that it is let go first, by `release`.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        release()
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


class _End:
    """Tells the end of this process, and of no child that it forks."""

    def __init__(self, ends: Callable[[int], None]) -> None:
        self.code = 0
        self._ends, self._pid = ends, os.getpid()

    def reached(self) -> None:
        if os.getpid() == self._pid:
            self._ends(self.code)


def _tell(error: BaseException) -> None:
    """As the interpreter would tell it, by a hook of the program's too."""
    forget_ours(error)
    with suppress(Exception):  # such as a standard error that is closed
        sys.excepthook(type(error), error, error.__traceback__)


def _status(leaving: SystemExit) -> int:
    """What `sys.exit(…)` means as an exit status."""
    if leaving.code is None:
        return 0
    return leaving.code & 0xFF if isinstance(leaving.code, int) else 1


def _has_no_input() -> bool:
    with suppress(OSError, ValueError, AttributeError):
        return os.path.samestat(os.fstat(sys.stdin.fileno()), os.stat(os.devnull))
    return False
