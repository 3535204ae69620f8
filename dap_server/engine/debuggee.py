"""A loaded model under the debugger: its anatomy, its stepper, and what can be seen of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dap_server.engine.analysis.anomalies.explaining import Explainer
from dap_server.engine.analysis.conditions.at_stops import StopNames
from dap_server.engine.analysis.conditions.judge import ConditionJudge
from dap_server.engine.analysis.edits.interventions import Interventions
from dap_server.engine.analysis.inline_values import InlineValues
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.map_in_use import MapChoice, MapInUse
from dap_server.engine.anatomy.mapping import map_of
from dap_server.engine.anatomy.modules import Anatomy, SourceLine
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.breakpoints import Breakpoint, Wanted, place
from dap_server.engine.execution.forward_run import ForwardRun
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.hooks import hooked_modules
from dap_server.engine.execution.judging import Candidate
from dap_server.engine.execution.prompting import PromptRun, Run
from dap_server.engine.execution.stepping import Stepper, Stop
from dap_server.engine.inspection.disassembly import Disassembler
from dap_server.engine.inspection.evaluation import Evaluator
from dap_server.engine.inspection.frames import CallStack, place_source
from dap_server.engine.inspection.references import References
from dap_server.engine.inspection.scopes import Scopes
from dap_server.modelmap.places import Place
from dap_server.protocol.launch import LaunchArguments

HOOKS_NAMED = 5


class Debuggee:
    """What requests work on. Knows no DAP message."""

    def __init__(
        self,
        loaded: Loaded,
        stopped: Callable[[Stop], None],
        write: Callable[[str], None],
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        """`write` gets the text of the model, `say` what the debugger has to say about a run."""
        self.loaded = loaded
        self.anatomy = Anatomy(loaded.model)
        self.vocabulary = Vocabulary(loaded.tokenizer)
        self.stepper = Stepper(self.anatomy, self._stopped)
        self.stepper.judging.judge = ConditionJudge(self.anatomy, self.vocabulary)
        self.stepper.judging.say = self._log
        self.logged: Callable[[str, SourceLine | None], None] = lambda text, _source: say(text)
        """Is given the log messages of breakpoints, with the line of their place."""
        self.changed: Callable[[Breakpoint], None] = lambda _breakpoint: None
        """Is told of a breakpoint of which something else is known than before."""
        self.scopes = Scopes(self.anatomy, self.vocabulary)
        self.evaluator = Evaluator(
            self.anatomy,
            loaded.tokenizer,
            self.scopes.locals,
            lambda frame: StopNames(frame, self.anatomy, self.vocabulary),
            lambda frame: Interventions(frame, self.anatomy, self.vocabulary).names(),
            self.stepper.undisturbed,
        )
        self.just_my_code = True
        """Whether Python frames of libraries stand back behind the user's."""
        self.explainer = Explainer(self.anatomy, self.vocabulary)
        self.references = References()
        self.disassembler = Disassembler(self.anatomy, self.stepper.regions)
        self.inline_values = InlineValues(self.anatomy, self.stepper.stage)
        self.run: Run | None = None
        self._prepared: Run | None = None  # the one that breakpoints are placed for: it may not have begun
        self.map: MapInUse | None = None
        self._maps = MapChoice(self.anatomy, lambda name: map_of(loaded.model, name, loaded.task), say)
        self.stopping: Callable[[], None] = lambda: None
        """Called on the model thread when it is parked, before anybody is told."""
        self.goto_targets: list[Place] = []
        """What `gotoTargets` has offered at this stop, by number."""
        self._tell, self._write, self._say = stopped, write, say
        self.stepper.replays = self._name_hooks
        self.stepper.turned = lambda generation: self.run.turned(generation) if self.run is not None else None
        self.stepper.late.not_found_again = self._not_found_again
        self._diverged: Generation | None = None
        self._hooked: set[str] = set()

    def prepare(self, launch: LaunchArguments) -> Run:
        """A run of a launch configuration. Raises ConfigurationError."""
        task = self.loaded.task
        kind = PromptRun if task is not None and task.generates else ForwardRun
        self._prepared = kind(self.loaded, launch, self.stepper, self._write)
        return self._prepared

    def set_breakpoints(self, wanted: list[Wanted]) -> list[Breakpoint]:
        """Replaces all breakpoints by these."""
        breakpoints = [place(one, self.anatomy, self.stepper.regions, self.vocabulary) for one in wanted]
        for breakpoint in breakpoints:
            if breakpoint.is_verified and not breakpoint.operations and breakpoint.filter is None:
                breakpoint.problem = self._why_never(breakpoint)
        self.stepper.set_breakpoints(breakpoints)
        return breakpoints

    def place_again(self) -> list[Breakpoint]:
        """Places the breakpoints for another run; returns those that have become better or worse by it."""
        before = {b.id: (b.is_verified, b.message) for b in self.stepper.breakpoints.all}
        placed = self.set_breakpoints([b.wanted for b in self.stepper.breakpoints.all if b.wanted is not None])
        return [b for b in placed if (b.is_verified, b.message) != before[b.id]]

    def _why_never(self, breakpoint: Breakpoint) -> str | None:
        if breakpoint.watch is not None and breakpoint.watch.owner is not None:
            return None  # a step looks at it too
        if breakpoint.pseudo is not None:
            return self._prepared.why_never(breakpoint.pseudo) if self._prepared is not None else None
        return self.map.why_never(breakpoint.paths) if self.map is not None else None

    def call_stack(self, stop: Stop, sequence: int) -> CallStack:
        return CallStack(stop, self.stepper, self.vocabulary, sequence, self.map, self.just_my_code)

    def use_map(self, given: str | None, candidates: list[str], name: str) -> None:
        """Decides which map frames point into, and makes one if there is none."""
        self.map = self._maps.choose(given, candidates, name)

    def adopt_tokenizer(self, tokenizer: Any) -> None:
        """One that was found later."""
        self.loaded.tokenizer = tokenizer
        self.vocabulary.adopt(tokenizer)
        self.evaluator.adopt(tokenizer)

    def _log(self, text: str, candidate: Candidate) -> None:
        if self.run is not None:
            self.run.flush()
        place = candidate.place
        point = None if self.map is None or candidate.operation else self.map.point(place.path, place.phase)
        line = place_source(candidate, self.anatomy) if point is None else SourceLine(point.path, point.line)
        self.logged(text, line)

    def _stopped(self, stop: Stop) -> None:
        if self.run is not None:
            self.run.flush()
        self.references.forget()
        self.goto_targets = []
        self.stopping()
        if self.map is not None:
            self.map.refresh()
        self._warn_of_divergence(stop.generation)
        self._tell(stop)
        for breakpoint in self.stepper.breakpoints.tell_costs():
            self.changed(breakpoint)

    def _warn_of_divergence(self, generation: Generation) -> None:
        if generation.diverged_at is not None and generation is not self._diverged:
            self._diverged = generation
            again = f"step {generation.diverged_at} chose another token when it ran again"
            self._say(f"{again}: this run does not repeat itself\n")

    def _not_found_again(self, step: int, is_error: bool) -> None:
        """Of a second look at a step in which something may have been hit."""
        if is_error:
            self._say(f"a forward raised in step {step}, and did not when the step ran again: the run goes on\n")
        else:
            self._say(f"step {step} ran again to look closer, and there is nothing to stop at\n")

    def _name_hooks(self) -> None:
        if names := [name for name in hooked_modules(self.anatomy) if name not in self._hooked]:
            self._hooked.update(names)
            shown = ", ".join(names[:HOOKS_NAMED]) + (" …" if len(names) > HOOKS_NAMED else "")
            self._say(f"hooks that are not of the debugger run again in every replay, on {shown}\n")
