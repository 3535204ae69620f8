"""The requests of a client by name: arguments as Python has them, answers without their wrapping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec

from dap_server.modelmap.places import Phase
from dap_server.protocol import requests as protocol
from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.llm import control as llm
from dap_server.protocol.llm import edits as llm_edits
from dap_server.protocol.llm import effects as llm_effects
from dap_server.protocol.llm import gradients as llm_gradients
from dap_server.protocol.llm import tensors as llm_tensors
from dap_server.protocol.llm.attention import AttentionArguments, AttentionResponseBody
from dap_server.protocol.llm.branches import (
    Branch,
    BranchArguments,
    BranchesArguments,
    BranchesResponseBody,
    NameBranchArguments,
)
from dap_server.protocol.llm.costs import BreakpointCostsArguments, BreakpointCostsResponseBody
from dap_server.protocol.llm.edits import EditInfo
from dap_server.protocol.llm.lens import (
    AttributionArguments,
    AttributionResponseBody,
    LensArguments,
    LensResponseBody,
)
from dap_server.protocol.llm.sampling import SamplingResponseBody
from dap_server.protocol.messages import Struct
from dap_server.protocol.types import (
    Breakpoint,
    CompletionItem,
    DataBreakpoint,
    DisassembledInstruction,
    ExceptionFilterOptions,
    FunctionBreakpoint,
    GotoTarget,
    InstructionBreakpoint,
    Scope,
    SourceBreakpoint,
    StackFrame,
    StepInTarget,
    SteppingGranularity,
    Thread,
    Variable,
)
from dap_server.protocol.types import Source as SourceFile
from dap_server.wire.reply import Reply


class Requests(ABC):
    """What can be asked of an adapter. A thread that is not named is the one that stopped last."""

    thread_id = 1
    capabilities = Capabilities()

    @abstractmethod
    def request(self, command: str, arguments: Struct | dict[str, Any] | None = None) -> Reply[msgspec.Raw]:
        """Sends a request and does not wait."""

    @abstractmethod
    def ask(self, command: str, arguments: Struct | dict[str, Any] | None = None, timeout: float | None = None) -> Any:
        """Sends a request and waits for the body of its answer, decoded."""

    def initialize(self, **changes: Any) -> Capabilities:
        """`changes` are fields of `InitializeRequestArguments`."""
        arguments = {
            "adapter_id": "llm-dap",
            "client_id": "llm-dap-terminal",
            "client_name": "llm-dap terminal",
            "lines_start_at_1": True,
            "columns_start_at_1": True,
            "path_format": "path",
            "supports_variable_type": True,
            "supports_variable_paging": True,
            "supports_run_in_terminal_request": True,
            "supports_memory_references": True,
            "supports_progress_reporting": True,
            "supports_invalidated_event": True,
            "supports_memory_event": True,
        }
        body: Capabilities = self.ask("initialize", protocol.InitializeRequestArguments(**{**arguments, **changes}))
        self.capabilities = body
        return body

    def launch(self, **options: Any) -> Reply[msgspec.Raw]:
        """`options` are fields of `LaunchArguments`. Not waited for: the answer comes when the model has loaded."""
        return self.request("launch", LaunchArguments(**options))

    def attach(self, **options: Any) -> Reply[msgspec.Raw]:
        """`options` are fields of `AttachArguments`. Not waited for: the answer comes when breakpoints are placed."""
        return self.request("attach", options)

    def configuration_done(self) -> None:
        self.ask("configurationDone")

    def restart(self, **options: Any) -> None:
        """`options` are the new launch configuration; none keeps the old one."""
        arguments = msgspec.to_builtins(LaunchArguments(**options)) if options else None
        self.ask("restart", protocol.RestartArguments(arguments=arguments))

    def terminate(self) -> None:
        self.ask("terminate")

    def disconnect(self, terminate_debuggee: bool | None = None) -> None:
        self.ask("disconnect", protocol.DisconnectArguments(terminate_debuggee=terminate_debuggee))

    def cancel(self, request_id: int | None = None, progress_id: str | None = None) -> None:
        self.ask("cancel", protocol.CancelArguments(request_id=request_id, progress_id=progress_id))

    def set_function_breakpoints(self, *breakpoints: str | FunctionBreakpoint) -> list[Breakpoint]:
        """Replaces all of them; a text is a name without conditions."""
        wanted = [b if isinstance(b, FunctionBreakpoint) else FunctionBreakpoint(name=b) for b in breakpoints]
        arguments = protocol.SetFunctionBreakpointsArguments(breakpoints=wanted)
        body: protocol.SetFunctionBreakpointsResponseBody = self.ask("setFunctionBreakpoints", arguments)
        return body.breakpoints

    def set_breakpoints(self, path: str, *breakpoints: int | SourceBreakpoint) -> list[Breakpoint]:
        """Replaces those of one file; a number is a line without conditions."""
        wanted = [b if isinstance(b, SourceBreakpoint) else SourceBreakpoint(line=b) for b in breakpoints]
        arguments = protocol.SetBreakpointsArguments(source=SourceFile(path=path), breakpoints=wanted)
        body: protocol.SetBreakpointsResponseBody = self.ask("setBreakpoints", arguments)
        return body.breakpoints

    def set_data_breakpoints(self, *breakpoints: DataBreakpoint) -> list[Breakpoint]:
        """Replaces all of them."""
        arguments = protocol.SetDataBreakpointsArguments(breakpoints=list(breakpoints))
        body: protocol.SetDataBreakpointsResponseBody = self.ask("setDataBreakpoints", arguments)
        return body.breakpoints

    def data_breakpoint_info(self, name: str, frame_id: int | None = None) -> protocol.DataBreakpointInfoResponseBody:
        """Of a data id, a path, an option, or an expression in a frame."""
        arguments = protocol.DataBreakpointInfoArguments(name=name, frame_id=frame_id)
        body: protocol.DataBreakpointInfoResponseBody = self.ask("dataBreakpointInfo", arguments)
        return body

    def set_exception_breakpoints(self, *filters: str | ExceptionFilterOptions) -> list[Breakpoint] | None:
        """Replaces the filters that are on. The answers are those of ids first, then those of filters with options."""
        ids = [each for each in filters if isinstance(each, str)]
        options = [each for each in filters if not isinstance(each, str)]
        arguments = protocol.SetExceptionBreakpointsArguments(filters=ids, filter_options=options or None)
        body: protocol.SetExceptionBreakpointsResponseBody = self.ask("setExceptionBreakpoints", arguments)
        return body.breakpoints

    def exception_info(self, thread_id: int | None = None) -> protocol.ExceptionInfoResponseBody:
        arguments = protocol.ExceptionInfoArguments(thread_id=thread_id or self.thread_id)
        body: protocol.ExceptionInfoResponseBody = self.ask("exceptionInfo", arguments)
        return body

    def breakpoint_costs(self) -> BreakpointCostsResponseBody:
        body: BreakpointCostsResponseBody = self.ask("llm/breakpointCosts", BreakpointCostsArguments())
        return body

    def continue_(self, thread_id: int | None = None) -> None:
        self.ask("continue", protocol.ContinueArguments(thread_id=thread_id or self.thread_id))

    def next(self, thread_id: int | None = None, granularity: SteppingGranularity | None = None) -> None:
        thread_id = thread_id or self.thread_id
        self.ask("next", protocol.NextArguments(thread_id=thread_id, granularity=granularity))

    def step_in(
        self,
        target_id: int | None = None,
        thread_id: int | None = None,
        granularity: SteppingGranularity | None = None,
    ) -> None:
        thread_id = thread_id or self.thread_id
        arguments = protocol.StepInArguments(thread_id=thread_id, target_id=target_id, granularity=granularity)
        self.ask("stepIn", arguments)

    def step_out(self, thread_id: int | None = None, granularity: SteppingGranularity | None = None) -> None:
        thread_id = thread_id or self.thread_id
        self.ask("stepOut", protocol.StepOutArguments(thread_id=thread_id, granularity=granularity))

    def pause(self, thread_id: int | None = None) -> None:
        self.ask("pause", protocol.PauseArguments(thread_id=thread_id or self.thread_id))

    def step_in_targets(self, frame_id: int | None = None) -> list[StepInTarget]:
        arguments = protocol.StepInTargetsArguments(frame_id=self._frame(frame_id))
        body: protocol.StepInTargetsResponseBody = self.ask("stepInTargets", arguments)
        return body.targets

    # Going back may take long, since steps run again to find where it leads: these are not waited for.

    def step_back(
        self, thread_id: int | None = None, granularity: SteppingGranularity | None = None
    ) -> Reply[msgspec.Raw]:
        thread_id = thread_id or self.thread_id
        return self.request("stepBack", protocol.StepBackArguments(thread_id=thread_id, granularity=granularity))

    def reverse_continue(self, thread_id: int | None = None) -> Reply[msgspec.Raw]:
        return self.request("reverseContinue", protocol.ReverseContinueArguments(thread_id=thread_id or self.thread_id))

    def reverse_step_in(self, thread_id: int | None = None) -> Reply[msgspec.Raw]:
        return self.request("llm/reverseStepIn", llm.ReverseStepArguments(thread_id=thread_id or self.thread_id))

    def reverse_step_out(self, thread_id: int | None = None) -> Reply[msgspec.Raw]:
        return self.request("llm/reverseStepOut", llm.ReverseStepArguments(thread_id=thread_id or self.thread_id))

    def run_to_step(self, step: int, path: str | None = None, phase: Phase = "before") -> Reply[msgspec.Raw]:
        """`path` is a module's, or `logits`, `sample`; the beginning of the step when missing."""
        return self.request("llm/runToStep", llm.RunToStepArguments(step=step, path=path, phase=phase))

    def restart_frame(self, frame_id: int | None = None) -> Reply[msgspec.Raw]:
        """The top frame when none is named."""
        return self.request("restartFrame", protocol.RestartFrameArguments(frame_id=self._frame(frame_id)))

    def goto(self, target_id: int, thread_id: int | None = None) -> Reply[msgspec.Raw]:
        arguments = protocol.GotoArguments(thread_id=thread_id or self.thread_id, target_id=target_id)
        return self.request("goto", arguments)

    def goto_targets(self, path: str, line: int) -> list[GotoTarget]:
        arguments = protocol.GotoTargetsArguments(source=SourceFile(path=path), line=line)
        body: protocol.GotoTargetsResponseBody = self.ask("gotoTargets", arguments)
        return body.targets

    def attention(self, frame_id: int, **options: Any) -> AttentionResponseBody:
        """`options` are further fields of `AttentionArguments`."""
        body: AttentionResponseBody = self.ask("llm/attention", AttentionArguments(frame_id=frame_id, **options))
        return body

    def threads(self) -> list[Thread]:
        body: protocol.ThreadsResponseBody = self.ask("threads")
        return body.threads

    def stack_trace(
        self, thread_id: int | None = None, start: int | None = None, levels: int | None = None
    ) -> protocol.StackTraceResponseBody:
        thread_id = thread_id or self.thread_id
        arguments = protocol.StackTraceArguments(thread_id=thread_id, start_frame=start, levels=levels)
        body: protocol.StackTraceResponseBody = self.ask("stackTrace", arguments)
        return body

    def top_frame(self, thread_id: int | None = None) -> StackFrame:
        return self.stack_trace(thread_id, levels=1).stack_frames[0]

    def scopes(self, frame_id: int | None = None) -> list[Scope]:
        """Of the top frame when none is named."""
        body: protocol.ScopesResponseBody = self.ask("scopes", protocol.ScopesArguments(frame_id=self._frame(frame_id)))
        return body.scopes

    def scope(self, name: str, frame_id: int | None = None) -> dict[str, Variable]:
        """All variables of one scope, by name.

        Raises:
            KeyError: the frame has no such scope.
        """
        references = {scope.name: scope.variables_reference for scope in self.scopes(frame_id)}
        return {variable.name: variable for variable in self.variables(references[name])}

    def sampling(self, frame_id: int, top: int | None = None) -> SamplingResponseBody:
        """How the token of a frame's step is chosen; of a past step it takes about a forward pass."""
        arguments = {"frameId": frame_id, "top": top}
        body: SamplingResponseBody = self.ask("llm/sampling", {k: v for k, v in arguments.items() if v is not None})
        return body

    def variables(
        self, reference: int, filter: str | None = None, start: int | None = None, count: int | None = None
    ) -> list[Variable]:
        arguments = {"variablesReference": reference, "filter": filter, "start": start, "count": count}
        given = {key: value for key, value in arguments.items() if value is not None}
        body: protocol.VariablesResponseBody = self.ask("variables", given)
        return body.variables

    def evaluate(
        self, expression: str, frame_id: int | None = None, context: str | None = "repl", timeout: float | None = None
    ) -> protocol.EvaluateResponseBody:
        """In the top frame when none is named: the adapter's choice."""
        arguments = protocol.EvaluateArguments(expression=expression, frame_id=frame_id, context=context)
        body: protocol.EvaluateResponseBody = self.ask("evaluate", arguments, timeout)
        return body

    def completions(self, text: str, column: int | None = None, frame_id: int | None = None) -> list[CompletionItem]:
        """`column` is the caret, counted from 1; at the end of the text when missing."""
        column = len(text) + 1 if column is None else column
        arguments = protocol.CompletionsArguments(text=text, column=column, frame_id=frame_id)
        body: protocol.CompletionsResponseBody = self.ask("completions", arguments, timeout=5.0)
        return body.targets

    def gradients(
        self,
        of: llm_gradients.GradientObjective | None = None,
        frame_id: int | None = None,
        path: str | None = None,
        **options: Any,
    ) -> llm_gradients.GradientsResponseBody:
        """`options` are the other fields of `GradientsArguments`."""
        of = of or llm_gradients.GradientObjective()
        arguments = llm_gradients.GradientsArguments(frame_id=self._frame(frame_id), of=of, path=path, **options)
        body: llm_gradients.GradientsResponseBody = self.ask("llm/gradients", arguments)
        return body

    def saliency(
        self, of: llm_gradients.GradientObjective | None = None, frame_id: int | None = None
    ) -> llm_gradients.SaliencyResponseBody:
        of = of or llm_gradients.GradientObjective()
        arguments = llm_gradients.SaliencyArguments(frame_id=self._frame(frame_id), of=of)
        body: llm_gradients.SaliencyResponseBody = self.ask("llm/saliency", arguments)
        return body

    def tensor(self, **options: Any) -> llm_tensors.TensorResponseBody:
        """`options` are fields of `TensorArguments`."""
        body: llm_tensors.TensorResponseBody = self.ask("llm/tensor", llm_tensors.TensorArguments(**options))
        return body

    def tensor_literal(self, **options: Any) -> str:
        """`options` are fields of `TensorLiteralArguments`."""
        arguments = llm_tensors.TensorLiteralArguments(**options)
        body: llm_tensors.TensorLiteralResponseBody = self.ask("llm/tensorLiteral", arguments)
        return body.text

    def save_tensor(self, path: str, **options: Any) -> llm_tensors.SaveTensorResponseBody:
        """`options` are the other fields of `SaveTensorArguments`. Large tensors take their time."""
        arguments = llm_tensors.SaveTensorArguments(path=path, **options)
        body: llm_tensors.SaveTensorResponseBody = self.ask("llm/saveTensor", arguments)
        return body

    def read_memory(self, reference: str, count: int, offset: int = 0) -> protocol.ReadMemoryResponseBody:
        arguments = protocol.ReadMemoryArguments(memory_reference=reference, count=count, offset=offset)
        body: protocol.ReadMemoryResponseBody = self.ask("readMemory", arguments)
        return body

    def disassemble(self, reference: str, offset: int, count: int) -> list[DisassembledInstruction]:
        """`count` instructions, of which the one at `reference` is number `-offset`."""
        arguments = protocol.DisassembleArguments(
            memory_reference=reference, instruction_offset=offset, instruction_count=count
        )
        body: protocol.DisassembleResponseBody = self.ask("disassemble", arguments)
        return body.instructions

    def set_instruction_breakpoints(self, *addresses: str) -> list[Breakpoint]:
        """Replaces all of them."""
        wanted = [InstructionBreakpoint(instruction_reference=address) for address in addresses]
        arguments = protocol.SetInstructionBreakpointsArguments(breakpoints=wanted)
        body: protocol.SetInstructionBreakpointsResponseBody = self.ask("setInstructionBreakpoints", arguments)
        return body.breakpoints

    def loaded_sources(self) -> list[SourceFile]:
        """The map in use, and the Python files of the model."""
        body: protocol.LoadedSourcesResponseBody = self.ask("loadedSources", protocol.LoadedSourcesArguments())
        return body.sources

    def source(self, path: str) -> str:
        """The text of a file, as the adapter has it."""
        arguments = protocol.SourceArguments(source_reference=0, source=SourceFile(path=path))
        body: protocol.SourceResponseBody = self.ask("source", arguments)
        return body.content

    def modules(self) -> list[Any]:
        body: protocol.ModulesResponseBody = self.ask("modules", protocol.ModulesArguments())
        return list(body.modules)

    def lens(self, frame_id: int | None = None, timeout: float | None = None, **options: Any) -> LensResponseBody:
        """`options` are fields of `LensArguments`; of the top frame when none is named."""
        arguments = LensArguments(frame_id=self._frame(frame_id), **options)
        body: LensResponseBody = self.ask("llm/lens", arguments, timeout)
        return body

    def attribution(self, frame_id: int | None = None, **options: Any) -> AttributionResponseBody:
        """`options` are fields of `AttributionArguments`; of the top frame when none is named."""
        arguments = AttributionArguments(frame_id=self._frame(frame_id), **options)
        body: AttributionResponseBody = self.ask("llm/attribution", arguments)
        return body

    def edit_effect(self, ids: list[int] | None = None, step: int | None = None) -> llm_effects.EffectResponseBody:
        body: llm_effects.EffectResponseBody = self.ask(
            "llm/editEffect", llm_effects.EffectArguments(ids=ids, step=step)
        )
        return body

    def compare_branches(self, a: int, b: int, timeout: float | None = None) -> llm_effects.CompareBranchesResponseBody:
        arguments = llm_effects.CompareBranchesArguments(a=a, b=b, thread_id=self.thread_id)
        body: llm_effects.CompareBranchesResponseBody = self.ask("llm/compareBranches", arguments, timeout)
        return body

    def sweep(
        self, frame_id: int | None = None, timeout: float | None = None, **options: Any
    ) -> llm_effects.SweepResponseBody:
        """`options` are fields of `SweepArguments`; of the top frame when none is named."""
        arguments = llm_effects.SweepArguments(frame_id=self._frame(frame_id), **options)
        body: llm_effects.SweepResponseBody = self.ask("llm/sweep", arguments, timeout)
        return body

    def edits(self) -> list[EditInfo]:
        """Of the present branch."""
        return self._edited("llm/edits", llm_edits.EditsArguments())

    def undo_edit(self, number: int | None = None, everything: bool = False) -> list[EditInfo]:
        """The last one when no number is given."""
        return self._edited("llm/undoEdit", llm_edits.UndoEditArguments(id=number, all=everything))

    def switch_edit(self, number: int, is_on: bool) -> list[EditInfo]:
        return self._edited("llm/changeEdit", llm_edits.ChangeEditArguments(id=number, enabled=is_on))

    def save_edits(self, file: str) -> llm_edits.SaveEditsResponseBody:
        body: llm_edits.SaveEditsResponseBody = self.ask("llm/saveEdits", llm_edits.EditsFileArguments(file=file))
        return body

    def load_edits(self, file: str) -> list[EditInfo]:
        return self._edited("llm/loadEdits", llm_edits.EditsFileArguments(file=file))

    def branches(self) -> list[Branch]:
        return self._branched("llm/branches", BranchesArguments(thread_id=self.thread_id))

    def switch_branch(self, number: int) -> list[Branch]:
        return self._branched("llm/switchBranch", BranchArguments(id=number))

    def delete_branch(self, number: int) -> list[Branch]:
        return self._branched("llm/deleteBranch", BranchArguments(id=number))

    def name_branch(self, number: int, name: str) -> list[Branch]:
        return self._branched("llm/nameBranch", NameBranchArguments(id=number, name=name))

    def _edited(self, command: str, arguments: Struct) -> list[EditInfo]:
        body: llm_edits.EditsResponseBody = self.ask(command, arguments)
        return body.edits

    def _branched(self, command: str, arguments: Struct) -> list[Branch]:
        body: BranchesResponseBody = self.ask(command, arguments)
        return body.branches

    def _frame(self, frame_id: int | None) -> int:
        return self.top_frame().id if frame_id is None else frame_id
