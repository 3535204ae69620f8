"""The adapter's process: started with pipes, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import BinaryIO, cast

from dap_server.wire.streams import Streams

ADAPTER_COMMAND = (sys.executable, "-m", "dap_server", "adapter")


class AdapterProcess:
    """A child that speaks DAP over its standard input and output; its standard error is ours."""

    def __init__(
        self, command: Sequence[str] | None, env: Mapping[str, str] | None, cwd: str | os.PathLike[str] | None
    ) -> None:
        self._process = subprocess.Popen(
            list(command or ADAPTER_COMMAND),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,  # Ctrl+C in the terminal is for us, who make a pause of it
        )

    @property
    def streams(self) -> Streams:
        return Streams(cast(BinaryIO, self._process.stdout), cast(BinaryIO, self._process.stdin))

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; below zero is the number of the signal that ended it."""
        return self._process.poll()

    def exit_code_within(self, seconds: float) -> int | None:
        """Waits a little for a process whose pipes have closed."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self, grace: float) -> int:
        """Closes its input, waits for it to go, and kills it and its group when it does not."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            pass  # it has gone already
        try:
            return self._process.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            return self._process.wait()
