"""Which types an own request or event carries, by its name on the wire."""

from dap_server.protocol.llm import (
    attention,
    branches,
    control,
    costs,
    edits,
    effects,
    generation,
    gradients,
    lens,
    map,
    sampling,
    tensors,
)
from dap_server.protocol.requests import SetFunctionBreakpointsResponseBody
from dap_server.protocol.tables import RequestType

LLM_REQUESTS: dict[str, RequestType] = {
    "llm/runToStep": RequestType(control.RunToStepArguments, None),
    "llm/reverseStepIn": RequestType(control.ReverseStepArguments, None),
    "llm/reverseStepOut": RequestType(control.ReverseStepArguments, None),
    "llm/tensor": RequestType(tensors.TensorArguments, tensors.TensorResponseBody),
    "llm/tensorLiteral": RequestType(tensors.TensorLiteralArguments, tensors.TensorLiteralResponseBody),
    "llm/saveTensor": RequestType(tensors.SaveTensorArguments, tensors.SaveTensorResponseBody),
    "llm/sampling": RequestType(sampling.SamplingArguments, sampling.SamplingResponseBody),
    "llm/attention": RequestType(attention.AttentionArguments, attention.AttentionResponseBody),
    "llm/lens": RequestType(lens.LensArguments, lens.LensResponseBody),
    "llm/attribution": RequestType(lens.AttributionArguments, lens.AttributionResponseBody),
    "llm/generation": RequestType(generation.GenerationArguments, generation.GenerationResponseBody),
    "llm/status": RequestType(generation.StatusArguments, generation.StatusResponseBody),
    "llm/breakpointCosts": RequestType(costs.BreakpointCostsArguments, costs.BreakpointCostsResponseBody),
    "llm/map": RequestType(map.MapArguments, map.MapResponseBody),
    "llm/inlineValues": RequestType(generation.InlineValuesArguments, generation.InlineValuesResponseBody),
    "llm/gradients": RequestType(gradients.GradientsArguments, gradients.GradientsResponseBody),
    "llm/saliency": RequestType(gradients.SaliencyArguments, gradients.SaliencyResponseBody),
    "llm/edit": RequestType(edits.EditArguments, edits.EditsResponseBody),
    "llm/edits": RequestType(edits.EditsArguments, edits.EditsResponseBody),
    "llm/changeEdit": RequestType(edits.ChangeEditArguments, edits.EditsResponseBody),
    "llm/undoEdit": RequestType(edits.UndoEditArguments, edits.EditsResponseBody),
    "llm/saveEdits": RequestType(edits.EditsFileArguments, edits.SaveEditsResponseBody),
    "llm/loadEdits": RequestType(edits.EditsFileArguments, edits.EditsResponseBody),
    "llm/branches": RequestType(branches.BranchesArguments, branches.BranchesResponseBody),
    "llm/switchBranch": RequestType(branches.BranchArguments, branches.BranchesResponseBody),
    "llm/deleteBranch": RequestType(branches.BranchArguments, branches.BranchesResponseBody),
    "llm/nameBranch": RequestType(branches.NameBranchArguments, branches.BranchesResponseBody),
    "llm/editEffect": RequestType(effects.EffectArguments, effects.EffectResponseBody),
    "llm/compareBranches": RequestType(effects.CompareBranchesArguments, effects.CompareBranchesResponseBody),
    "llm/sweep": RequestType(effects.SweepArguments, effects.SweepResponseBody),
    "llm/useMap": RequestType(control.UseMapArguments, None),
    "llm/placeBreakpoints": RequestType(control.PlaceBreakpointsArguments, SetFunctionBreakpointsResponseBody),
}
LLM_EVENTS: dict[str, type | None] = {
    "llm/loading": control.LoadingEventBody,
    "llm/running": control.RunningEventBody,
}
