"""A loaded model under the debugger: its anatomy, its stepper, and what can be seen of it."""

from __future__ import annotations

from collections.abc import Callable

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.breakpoints import Breakpoint, resolve
from dap_server.engine.execution.prompting import PromptRun
from dap_server.engine.execution.stepping import Stepper, Stop
from dap_server.engine.inspection.evaluation import Evaluator
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.references import References
from dap_server.engine.inspection.scopes import Scopes
from dap_server.modelmap.places import Place
from dap_server.protocol.launch import LaunchArguments


class Debuggee:
    """What requests work on. Knows no DAP message."""

    def __init__(self, loaded: Loaded, stopped: Callable[[Stop], None], write: Callable[[str], None]) -> None:
        self.loaded = loaded
        self.anatomy = Anatomy(loaded.model)
        self.vocabulary = Vocabulary(loaded.tokenizer)
        self.stepper = Stepper(self.anatomy, self._stopped)
        self.scopes = Scopes(self.anatomy, self.vocabulary)
        self.evaluator = Evaluator(self.anatomy, loaded.tokenizer)
        self.references = References()
        self.run: PromptRun | None = None
        self.goto_targets: list[Place] = []
        """What `gotoTargets` last offered, by number."""
        self._tell, self._write = stopped, write

    def prepare(self, launch: LaunchArguments) -> PromptRun:
        """A run of a launch configuration. Raises ConfigurationError."""
        return PromptRun(self.loaded, launch, self.stepper, self._write)

    def set_breakpoints(self, wanted: list[tuple[int, str]]) -> list[Breakpoint]:
        """Replaces all breakpoints by these, each an id and a name."""
        breakpoints = [resolve(id, name, self.anatomy) for id, name in wanted]
        self.stepper.set_breakpoints(breakpoints)
        return breakpoints

    def call_stack(self, stop: Stop, sequence: int) -> CallStack:
        return CallStack(stop, self.stepper, self.vocabulary, sequence)

    def _stopped(self, stop: Stop) -> None:
        if self.run is not None:
            self.run.transcript.flush()
        self.references.forget()
        self._tell(stop)
