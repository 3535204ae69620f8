"""The process that runs the model, seen from outside: starting it, its connection, its output, its end.

Threads: every callback comes on a thread of this object; the session posts them to its dispatcher.
"""

from __future__ import annotations

import codecs
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from dap_server.adapter.endings import Exit
from dap_server.protocol.errors import RequestError
from dap_server.protocol.launch import LaunchArguments
from dap_server.wire.loopback import accept, listen, new_token
from dap_server.wire.streams import Streams

TOKEN_VARIABLE = "LLM_DAP_ENGINE_TOKEN"
PATH_VARIABLE = "LLM_DAP_PYTHONPATH"
"""Tells the engine what PYTHONPATH was before we stood in front of it: a program and its children get that."""
HERE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""Where the same interpreter finds this very package, also from another directory."""
PIPE_GRACE_SECONDS = 1.0
"""How long the output of an ended process is waited for; a child of it may hold the pipe for ever."""


class StartError(RequestError):
    """The process cannot be started; the text says what to change."""

    id = 10


@dataclass(frozen=True)
class CommandLine:
    """How the engine is started, by us or by a terminal of the editor."""

    args: list[str]
    cwd: str | None
    env: dict[str, str | None]
    """Changes to the environment; None removes a variable."""


class Rendezvous:
    """Where the engine connects to: a loopback port and a token, for one connection."""

    def __init__(self) -> None:
        self.token = new_token()
        self._listener = listen()
        self.port: int = self._listener.getsockname()[1]

    def wait(self, connected: Callable[[Streams], None]) -> None:
        """Calls back on a thread of its own once the engine has connected."""
        threading.Thread(target=self._accept, args=(connected,), name="engine accept", daemon=True).start()

    def close(self) -> None:
        """Nobody is expected any more."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        except OSError:
            pass  # not connected: some systems say so
        self._listener.close()

    def _accept(self, connected: Callable[[Streams], None]) -> None:
        try:
            streams = accept(self._listener, self.token)
        except OSError:
            return
        self._listener.close()
        connected(streams)


def command_line(launch: LaunchArguments, rendezvous: Rendezvous) -> CommandLine:
    """How to start the engine for a launch configuration."""
    python = launch.python or sys.executable
    env: dict[str, str | None] = {**launch.env}
    if not launch.is_program:
        env = {"TOKENIZERS_PARALLELISM": "false", **env}
    if python == sys.executable:
        path = (env["PYTHONPATH"] if "PYTHONPATH" in env else os.environ.get("PYTHONPATH")) or ""
        env[PATH_VARIABLE], env["PYTHONPATH"] = path, os.pathsep.join([HERE, path] if path else [HERE])
    env[TOKEN_VARIABLE] = rendezvous.token
    args = [python, "-u", "-m", "dap_server", "engine", "--port", str(rendezvous.port)]
    return CommandLine(args, launch.cwd, env)


class EngineProcess:
    """A running engine that we started ourselves."""

    def __init__(
        self, command: CommandLine, output: Callable[[str, str], None], exited: Callable[[Exit], None]
    ) -> None:
        """Starts it.

        Args:
            output: gets category and text of what the process prints.
            exited: called once, after the last output.

        Raises:
            StartError: no such interpreter or directory.
        """
        self._output, self._exited = output, exited
        try:
            self._process = subprocess.Popen(
                command.args,
                cwd=command.cwd,
                env=_environment(command.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            where = command.cwd if error.filename == command.cwd else command.args[0]
            option = "cwd" if error.filename == command.cwd else "python"
            raise StartError(f"'{option}': '{where}' cannot be used: {error.strerror}") from error
        self.pid = self._process.pid
        self._pipes = [self._pump("stdout", self._process.stdout), self._pump("stderr", self._process.stderr)]
        threading.Thread(target=self._wait, name="engine wait", daemon=True).start()

    def kill(self) -> None:
        """Ends the process and what it started, without asking."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (OSError, AttributeError):
            self._process.kill()

    def _pump(self, category: str, pipe: IO[bytes] | None) -> threading.Thread:
        assert pipe is not None
        thread = threading.Thread(target=self._read, args=(category, pipe), name=f"engine {category}", daemon=True)
        thread.start()
        return thread

    def _read(self, category: str, pipe: IO[bytes]) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := os.read(pipe.fileno(), 65536):
            if text := decoder.decode(data):
                self._output(category, text)

    def _wait(self) -> None:
        code = self._process.wait()
        for pipe in self._pipes:
            pipe.join(PIPE_GRACE_SECONDS)
        self._exited(_exit(code))


def _environment(changes: dict[str, str | None]) -> dict[str, str]:
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _exit(code: int) -> Exit:
    if code >= 0:
        return Exit(code)
    try:
        return Exit(128 - code, signal.Signals(-code).name)
    except ValueError:
        return Exit(128 - code, f"signal {-code}")
