"""The model in a process of its own, which generates when it is asked to: left alone, or under debugpy.

What debugpy traces it traces for good, so that nothing else can be measured where it has been.
"""

from __future__ import annotations

import functools
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import debugpy
import torch
from torch import Tensor
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from benchmarks.subjects import Subject, llama, tiny
from dap_server.protocol.types import SourceBreakpoint
from dap_server.terminal.client import Client

SUBJECTS: dict[str, Callable[[], Subject]] = {"llama": functools.partial(llama, tokens=16), "tiny": tiny}


class OtherProcess:
    """Generates the text of a subject by `run`, whose laps are then in `laps`."""

    def __init__(self, subject: str, *options: str) -> None:
        command = [sys.executable, "-X", "frozen_modules=off", "-m", "benchmarks.other_process", subject, *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.laps: list[float] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if kind is not None:
            self._process.kill()
        self._process.stdin.close()
        self._process.wait()  # not for the end of its output: debugpy's adapter has inherited it
        self._process.stdout.close()

    def run(self) -> Tensor:
        self.ask()
        return self.result()

    def timed(self) -> list[float]:
        self.run()
        return self.laps

    def ask(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def result(self) -> Tensor:
        answer = self._answer()
        self.laps = answer["laps"]
        return torch.tensor(answer["text"])

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


class UnderDebugpy(OtherProcess):
    """With debugpy attached by a client, and breakpoints on the line where a layer returns its `hidden_states`."""

    def __init__(self, subject: str) -> None:
        super().__init__(subject, "--debugpy")
        self._client = Client.connect(self._answer()["port"])
        lines, first = inspect.getsourcelines(LlamaDecoderLayer.forward)
        self._path, self.line = inspect.getfile(LlamaDecoderLayer), first + len(lines) - 1

    def __enter__(self) -> Self:
        self._client.initialize(adapter_id="debugpy")
        attached = self._client.request("attach", {"justMyCode": False, "redirectOutput": False, "subProcess": False})
        self._client.wait_for("initialized", unless=attached)
        self._client.configuration_done()
        attached.result(self._client.timeout)
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()  # before the process, which would wait for it
        super().__exit__(kind, error, at)

    def break_if(self, condition: str | None) -> None:
        """On that line; None takes the breakpoint away."""
        wanted = [] if condition is None else [SourceBreakpoint(self.line, condition=condition)]
        placed = self._client.set_breakpoints(self._path, *wanted)
        assert all(one.verified for one in placed), [one.message for one in placed]

    def timed_with(self, condition: str | None) -> list[float]:
        self.break_if(condition)
        return self.timed()

    def stops_if(self, condition: str) -> int:
        """Generates once with it; the line of the first stop."""
        self.break_if(condition)
        self.ask()
        self._client.wait_for_stop()
        line = self._client.top_frame().line
        self.break_if(None)
        self._client.continue_()
        self.result()
        return line


def main(name: str, *options: str) -> None:
    """Answers every line with the laps and the text of a run."""
    if "--debugpy" in options:
        _, port = debugpy.listen(0)
        _say(port=port)
        debugpy.wait_for_client()
    subject = SUBJECTS[name]()
    for _ in sys.stdin:
        _say(**_run(subject))


def _run(subject: Subject) -> dict[str, Any]:
    text: list[Tensor] = []

    def run() -> Tensor:
        text.append(subject.plain())
        return text[0]

    laps = subject.laps_of(run)
    return {"laps": laps, "text": text[0].tolist()}


def _say(**answer: Any) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
