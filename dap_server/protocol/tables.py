"""Which types a command or an event carries: the whole protocol by its names on the wire."""

from typing import NamedTuple

from dap_server.protocol import control_requests as control
from dap_server.protocol import events
from dap_server.protocol import state_requests as state
from dap_server.protocol.capabilities import Capabilities


class RequestType(NamedTuple):
    """The types of a request's arguments and of its response's body; None where there is nothing."""

    arguments: type | None
    body: type | None


REQUESTS: dict[str, RequestType] = {
    "cancel": RequestType(control.CancelArguments, None),
    "initialize": RequestType(control.InitializeRequestArguments, Capabilities),
    "configurationDone": RequestType(control.ConfigurationDoneArguments, None),
    "launch": RequestType(control.LaunchRequestArguments, None),
    "attach": RequestType(control.AttachRequestArguments, None),
    "restart": RequestType(control.RestartArguments, None),
    "disconnect": RequestType(control.DisconnectArguments, None),
    "terminate": RequestType(control.TerminateArguments, None),
    "breakpointLocations": RequestType(control.BreakpointLocationsArguments, control.BreakpointLocationsResponseBody),
    "setBreakpoints": RequestType(control.SetBreakpointsArguments, control.SetBreakpointsResponseBody),
    "setFunctionBreakpoints": RequestType(
        control.SetFunctionBreakpointsArguments, control.SetFunctionBreakpointsResponseBody
    ),
    "setExceptionBreakpoints": RequestType(
        control.SetExceptionBreakpointsArguments, control.SetExceptionBreakpointsResponseBody
    ),
    "dataBreakpointInfo": RequestType(control.DataBreakpointInfoArguments, control.DataBreakpointInfoResponseBody),
    "setDataBreakpoints": RequestType(control.SetDataBreakpointsArguments, control.SetDataBreakpointsResponseBody),
    "setInstructionBreakpoints": RequestType(
        control.SetInstructionBreakpointsArguments, control.SetInstructionBreakpointsResponseBody
    ),
    "continue": RequestType(control.ContinueArguments, control.ContinueResponseBody),
    "next": RequestType(control.NextArguments, None),
    "stepIn": RequestType(control.StepInArguments, None),
    "stepOut": RequestType(control.StepOutArguments, None),
    "stepBack": RequestType(control.StepBackArguments, None),
    "reverseContinue": RequestType(control.ReverseContinueArguments, None),
    "restartFrame": RequestType(control.RestartFrameArguments, None),
    "goto": RequestType(control.GotoArguments, None),
    "pause": RequestType(control.PauseArguments, None),
    "stackTrace": RequestType(state.StackTraceArguments, state.StackTraceResponseBody),
    "scopes": RequestType(state.ScopesArguments, state.ScopesResponseBody),
    "variables": RequestType(state.VariablesArguments, state.VariablesResponseBody),
    "setVariable": RequestType(state.SetVariableArguments, state.SetVariableResponseBody),
    "source": RequestType(state.SourceArguments, state.SourceResponseBody),
    "threads": RequestType(None, state.ThreadsResponseBody),
    "terminateThreads": RequestType(state.TerminateThreadsArguments, None),
    "modules": RequestType(state.ModulesArguments, state.ModulesResponseBody),
    "loadedSources": RequestType(state.LoadedSourcesArguments, state.LoadedSourcesResponseBody),
    "evaluate": RequestType(state.EvaluateArguments, state.EvaluateResponseBody),
    "setExpression": RequestType(state.SetExpressionArguments, state.SetExpressionResponseBody),
    "stepInTargets": RequestType(state.StepInTargetsArguments, state.StepInTargetsResponseBody),
    "gotoTargets": RequestType(state.GotoTargetsArguments, state.GotoTargetsResponseBody),
    "completions": RequestType(state.CompletionsArguments, state.CompletionsResponseBody),
    "exceptionInfo": RequestType(state.ExceptionInfoArguments, state.ExceptionInfoResponseBody),
    "readMemory": RequestType(state.ReadMemoryArguments, state.ReadMemoryResponseBody),
    "writeMemory": RequestType(state.WriteMemoryArguments, state.WriteMemoryResponseBody),
    "disassemble": RequestType(state.DisassembleArguments, state.DisassembleResponseBody),
    "locations": RequestType(state.LocationsArguments, state.LocationsResponseBody),
}
"""What a client may ask of the adapter."""

REVERSE_REQUESTS: dict[str, RequestType] = {
    "runInTerminal": RequestType(control.RunInTerminalRequestArguments, control.RunInTerminalResponseBody),
    "startDebugging": RequestType(control.StartDebuggingRequestArguments, None),
}
"""What the adapter may ask of a client."""

EVENTS: dict[str, type | None] = {
    "initialized": None,
    "stopped": events.StoppedEventBody,
    "continued": events.ContinuedEventBody,
    "exited": events.ExitedEventBody,
    "terminated": events.TerminatedEventBody,
    "thread": events.ThreadEventBody,
    "output": events.OutputEventBody,
    "breakpoint": events.BreakpointEventBody,
    "module": events.ModuleEventBody,
    "loadedSource": events.LoadedSourceEventBody,
    "process": events.ProcessEventBody,
    "capabilities": events.CapabilitiesEventBody,
    "progressStart": events.ProgressStartEventBody,
    "progressUpdate": events.ProgressUpdateEventBody,
    "progressEnd": events.ProgressEndEventBody,
    "invalidated": events.InvalidatedEventBody,
    "memory": events.MemoryEventBody,
}
"""What the adapter may tell a client."""
