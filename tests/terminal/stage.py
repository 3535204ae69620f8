"""A debugger in the terminal, and an adapter that the test plays."""

from __future__ import annotations

import base64
import io
import struct
from typing import Any

from dap_server.protocol.errors import RequestError
from dap_server.terminal import script
from dap_server.terminal.debugger import Debugger
from dap_server.terminal.screen import Screen
from tests.terminal.fake_adapter import FakeAdapter

FRAMES = [
    {"id": 10, "name": "model.layers.3 (before)", "line": 0, "column": 0},
    {"id": 11, "name": "step 0 (prefill)", "line": 0, "column": 0},
    {"id": 12, "name": "history", "line": 0, "column": 0, "presentationHint": "label"},
    {"id": 13, "name": "prompt  'The'  1 tokens", "line": 0, "column": 0, "presentationHint": "subtle"},
]
CAPABILITIES = {
    "supportsFunctionBreakpoints": True,
    "supportsStepInTargetsRequest": True,
    "supportsRestartRequest": True,
    "supportsCompletionsRequest": True,
    "supportsStepBack": True,
    "supportsRestartFrame": True,
    "supportsReadMemoryRequest": True,
}
TRAVELS = ("stepBack", "reverseContinue", "restartFrame", "llm/reverseStepIn", "llm/reverseStepOut", "llm/runToStep")


class Stage:
    """A debugger that is stopped before layer 3 of a model that the test plays."""

    def __init__(self) -> None:
        self.paper = io.StringIO()
        self.fake = FakeAdapter()
        for command in ("next", "stepIn", "stepOut", "restart", *TRAVELS):
            self.fake.on(command, self.stop)
        self.fake.on("initialize", lambda _: CAPABILITIES)
        self.fake.on("launch", self._launched)
        self.fake.on("continue", self._end)
        self.fake.on("stackTrace", lambda args: {"stackFrames": FRAMES[: args["levels"] or None], "totalFrames": 4})
        self.fake.on("setFunctionBreakpoints", self._place)
        self.fake.on("scopes", lambda _: {"scopes": [{"name": "Inputs", "variablesReference": 5, "expensive": False}]})
        self.fake.on("variables", lambda _: {"variables": [{"name": "x", "value": "[1, 6]", "variablesReference": 0}]})
        self.fake.on("llm/tensor", self._page)
        self.fake.on("llm/tensorLiteral", lambda _: {"text": "torch.tensor([1.0])"})
        self.fake.on(
            "llm/saveTensor", lambda args: {"path": args["path"], "bytes": 5, "shape": [1], "dtype": "float32"}
        )
        self.fake.on("readMemory", lambda _: {"address": "0x10", "data": "aGVsbG8="})
        self.fake.on("evaluate", self._evaluate)
        self.fake.on("threads", lambda _: {"threads": [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}]})
        self.fake.on("stepInTargets", lambda _: {"targets": [{"id": 4, "label": "model.layers.3.mlp · LlamaMLP"}]})
        self.debugger = Debugger(self.fake.client, Screen(self.paper, width=100))

    def stop(self, _: object = None) -> None:
        self.fake.event("stopped", reason="step", threadId=1)

    def start(self) -> None:
        self.debugger.start(["*.layers.3"], {"model": "m", "prompt": "p"})
        self.paper.truncate(self.paper.seek(0))

    def play(self, *lines: str) -> list[str]:
        """What a script prints below its echo."""
        script.play(self.debugger, lines)
        printed = self.paper.getvalue().splitlines()
        self.paper.truncate(self.paper.seek(0))
        return [line for line in printed if not line.startswith("(llm) ")]

    def _launched(self, _: object) -> None:
        self.fake.event("initialized")
        self.fake.event("output", output="The", category="stdout")
        self.stop()

    def _end(self, _: object) -> dict[str, Any]:
        self.fake.event("output", output=" end\n", category="stdout")
        self.fake.event("exited", exitCode=0)
        self.fake.event("terminated")
        return {}

    def _place(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"breakpoints": [{"verified": True, "id": i + 1} for i, _ in enumerate(args["breakpoints"])]}

    def _evaluate(self, args: dict[str, Any]) -> dict[str, Any]:
        if args["expression"] == "nothing":
            raise RequestError("NameError: name 'nothing' is not defined")
        if args["expression"] == "big":
            return {"result": "float32 [2, 3, 40] cpu", "variablesReference": 9, "memoryReference": "tensor-1"}
        return {"result": f"value of {args['expression']}", "variablesReference": 0}

    def _page(self, args: dict[str, Any]) -> dict[str, Any]:
        columns = min(40, args["maxCells"])
        numbers = base64.b64encode(struct.pack(f"<{columns}f", *range(columns))).decode()
        axes = [
            {"name": "batch", "size": 2, "index": 1},
            {"name": "position", "size": 3, "start": 2, "end": 3, "labels": ["' is'"]},
            {"name": "feature", "size": 40, "start": 0, "end": 40},
        ]
        tile = {"shape": [1, columns], "dtype": "float32", "data": numbers}
        if columns < 40:
            tile |= {"blocks": [1, 40 // columns], "reduction": "magnitude"}
        return {"shape": [2, 3, 40], "dtype": "float32", "device": "cpu", "axes": axes, "tile": tile}
