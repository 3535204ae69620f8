"""The threads of a program, by number: they stay the same as long as a thread lives, and are never used twice.

The main thread is 1. A thread in which a model is called is the thread of the first sequence of its batch; the others
are threads too, with numbers of their own: 1000 times that of the thread, and which.
"""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from types import FrameType
from typing import NamedTuple

PER_THREAD = 1000
"""Sequences of one thread have numbers below the next one's."""


class ProgramThread(NamedTuple):
    """A thread of the program."""

    number: int
    ident: int
    name: str


class Threads:
    """The threads of this process that are the program's own."""

    def __init__(self) -> None:
        self._numbers: weakref.WeakKeyDictionary[threading.Thread, int] = weakref.WeakKeyDictionary()
        self._next = itertools.count(2)

    def all(self) -> list[ProgramThread]:
        """Those that run or stand, the main one first."""
        found = [
            ProgramThread(self._number(thread), thread.ident or 0, thread.name)
            for thread in threading.enumerate()
            if thread.ident is not None and not is_hidden(thread) and not _draws_bars(thread)
        ]
        return sorted(found)

    def of(self, ident: int) -> ProgramThread:
        """A thread by Python's identifier; the main one for 0 and for one that has ended."""
        found = {thread.ident: thread for thread in self.all()}
        return found.get(ident) or self.all()[0]

    def frame(self, thread: ProgramThread) -> FrameType | None:
        """The Python frame that it is in just now."""
        return sys._current_frames().get(thread.ident)

    def _number(self, thread: threading.Thread) -> int:
        if thread is threading.main_thread():
            return 1
        if thread not in self._numbers:
            self._numbers[thread] = next(self._next)
        return self._numbers[thread]


def split(number: int) -> tuple[int, int]:
    """The number of a thread of the program, and the index of the sequence that is meant by it."""
    return (number, 0) if number < PER_THREAD else divmod(number, PER_THREAD)


def joined(thread: int, sequence: int) -> int:
    """The number of a sequence of a thread, as `split` reads it."""
    return thread if sequence == 0 else PER_THREAD * thread + sequence


def _draws_bars(thread: threading.Thread) -> bool:
    """Whether it is tqdm's, which every program has that has loaded a model, and nobody debugs."""
    return type(thread).__module__.partition(".")[0] == "tqdm"


def is_hidden(thread: threading.Thread) -> bool:
    """Whether it is one of a debugger's."""
    return bool(getattr(thread, "pydev_do_not_trace", False) or getattr(thread, "is_pydev_daemon_thread", False))
