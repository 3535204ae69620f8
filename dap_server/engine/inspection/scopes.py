"""What can be seen in a frame, by scope."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy, forward_of
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.generation import Generation, Selection
from dap_server.engine.execution.stepping import NOTHING, Stop
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.past import Past
from dap_server.engine.inspection.variables import Children, ModuleChildren, Positions, Row, Rows, describe

TOP_K = 10


@dataclass
class Scope:
    """A named group of rows. `hint` is DAP's presentation hint."""

    name: str
    children: Children
    hint: str | None = None
    expensive: bool = False


class Scopes:
    """Makes the scopes of frames of one model."""

    def __init__(self, anatomy: Anatomy, vocabulary: Vocabulary) -> None:
        self._anatomy, self._vocabulary = anatomy, vocabulary
        self._past = Past()

    def of(self, frame: Frame) -> list[Scope]:
        """The scopes that fit a frame. Nothing is computed before a scope is opened."""
        match frame.kind:
            case "module":
                return [*self._module(frame), self._tokens(frame)]
            case "forward":
                return self._locals(frame)
            case "selection" | "step":
                sampling = [self._sampling(frame)] if frame.stop.generation.selection else []
                return [*sampling, *self._returned(frame.stop), self._tokens(frame)]
            case "past layer":
                path = frame.path or ""
                return [*self._past_call(frame, path), self._parameters(self._anatomy.modules[path])]
            case "past step":
                token = Scope("Token", Rows(lambda: self._past_token(frame)))
                choice = Scope("Sampling", Rows(lambda: self._past_sampling(frame)), expensive=True)
                return [token, choice, *self._past_call(frame, ""), self._tokens(frame)]
            case "prompt":
                return [self._tokens(frame)]
        return []

    def _module(self, frame: Frame) -> list[Scope]:
        assert frame.activation is not None
        activation, stop = frame.activation, frame.stop
        positions = self._positions(stop)
        scopes = [Scope("Inputs", Rows(lambda: _argument_rows(activation, positions)), "arguments")]
        if frame.is_top and stop.output is not NOTHING:
            scopes.append(Scope("Output", Rows(lambda: _output_rows(stop.output, positions)), "returnValue"))
        if frame.is_top:
            scopes.extend(self._returned(stop))
        return [*scopes, self._parameters(activation.module)]

    def _past_call(self, frame: Frame, path: str) -> list[Scope]:
        """Inputs and output of a module call that is over, run again when they are opened."""

        def inputs() -> list[Row]:
            call = self._past.call(frame.stop, frame.step, path)
            if call is None:
                return []
            bound = bind(self._anatomy.modules[path], call.args, call.kwargs)
            return [describe(name, value) for name, value in bound.items()]

        def output() -> list[Row]:
            call = self._past.call(frame.stop, frame.step, path)
            return [] if call is None else _output_rows(call.output, None)

        if frame.stop.generation.tape is None:
            return []
        return [
            Scope("Inputs", Rows(inputs), "arguments", expensive=True),
            Scope("Output", Rows(output), "returnValue", expensive=True),
        ]

    def _past_sampling(self, frame: Frame) -> list[Row]:
        selection = self._past.selection(frame.stop, frame.step)
        if selection is None or selection.tokens is None:
            return []
        return selection_rows(selection, selection.tokens, frame.sequence, self._vocabulary)

    def _returned(self, stop: Stop) -> list[Scope]:
        """What the module gave that was stepped over to come here."""
        if stop.returned is None:
            return []
        path, output = stop.returned
        positions = self._positions(stop)
        name = self._anatomy.name_of(path)
        return [Scope("Returned", Rows(lambda: [describe(name, output, positions)], 1), "returnValue")]

    def _parameters(self, module: nn.Module) -> Scope:
        return Scope("Parameters", ModuleChildren(module))

    def _locals(self, frame: Frame) -> list[Scope]:
        assert frame.activation is not None
        activation, positions = frame.activation, self._positions(frame.stop)
        names = frame_locals(activation)
        rows = Rows(lambda: [describe(name, value, positions, name) for name, value in names.items()], len(names))
        return [Scope("Locals", rows, "locals")]

    def _tokens(self, frame: Frame) -> Scope:
        return Scope("Tokens", TokenRows(frame, self._vocabulary))

    def _sampling(self, frame: Frame) -> Scope:
        generation, sequence = frame.stop.generation, frame.sequence
        return Scope("Sampling", Rows(lambda: sampling_rows(generation, sequence, self._vocabulary)))

    def _past_token(self, frame: Frame) -> list[Row]:
        record = frame.stop.generation.records[frame.step]
        token = int(record.tokens[frame.sequence])
        return [
            Row("token", self._vocabulary.quoted(token), "str"),
            Row("id", str(token), "int"),
            Row("probability", f"{float(record.probability[frame.sequence]):.9g}", "float"),
        ]

    def _positions(self, stop: Stop) -> Positions | None:
        """The tokens of the running forward, taken from what the whole model was called with."""
        if not stop.activations:
            return None
        root = stop.activations[-1]
        ids = bound_arguments(root).get("input_ids")
        if not isinstance(ids, Tensor) or ids.dim() != 2:
            return None
        return Positions(ids.tolist(), self._vocabulary)


class TokenRows:
    """The tokens of a sequence up to a frame's step: ids and text, what is padding, what was generated."""

    named = 0

    def __init__(self, frame: Frame, vocabulary: Vocabulary) -> None:
        self._vocabulary, self._sequence = vocabulary, frame.sequence
        self._generation = generation = frame.stop.generation
        ids = generation.input_ids
        self.indexed = 0
        if ids is not None:
            whole = (frame.kind == "step" and generation.is_over) or not generation.is_own_loop
            known = ids.shape[1] if whole else generation.prompt_length + frame.step
            self.indexed = generation.prompt_length if frame.kind == "prompt" else min(known, ids.shape[1])

    def named_rows(self) -> list[Row]:
        return []

    def indexed_rows(self, start: int, count: int) -> list[Row]:
        generation = self._generation
        assert generation.input_ids is not None
        page = generation.input_ids[self._sequence, start : min(start + count, self.indexed)].tolist()
        return [Row(f"[{start + i}]", self._line(start + i, token), "token") for i, token in enumerate(page)]

    def _line(self, position: int, token: int) -> str:
        generation, mask = self._generation, self._generation.attention_mask
        step = position - generation.prompt_length
        if 0 <= step < len(generation.records):
            probability = float(generation.records[step].probability[self._sequence])
            return f"{self._vocabulary.quoted(token)}  id {token}  step {step}  {probability:.1%}"
        is_padding = mask is not None and position < mask.shape[1] and not int(mask[self._sequence, position])
        return f"{self._vocabulary.quoted(token)}  id {token}{'  padding' if is_padding else ''}"


def bound_arguments(activation: Activation) -> dict[str, Any]:
    """What a module was called with, by the parameter names of its `forward`."""
    return bind(activation.module, activation.args, activation.kwargs)


def bind(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments by the parameter names of a module's `forward`."""
    try:
        signature = inspect.signature(forward_of(type(module)))  # type: ignore[arg-type]  # a function
        bound = signature.bind(module, *args, **kwargs)
    except (TypeError, ValueError):
        return {**{f"args[{i}]": value for i, value in enumerate(args)}, **kwargs}
    names = dict(list(bound.arguments.items())[1:])  # without self
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            names.update(names.pop(parameter.name, {}))
    return names


def frame_locals(activation: Activation) -> dict[str, Any]:
    """Local names of a module's Python `forward`; before it began, its arguments."""
    if activation.forward is not None:
        return dict(activation.forward.f_locals)
    return {"self": activation.module, **bound_arguments(activation)}


def _argument_rows(activation: Activation, positions: Positions | None) -> list[Row]:
    return [describe(name, value, positions, name) for name, value in bound_arguments(activation).items()]


def _output_rows(output: object, positions: Positions | None) -> list[Row]:
    return [describe("output", output, positions, "output")]


def sampling_rows(generation: Generation, sequence: int, vocabulary: Vocabulary) -> list[Row]:
    """The choice of the present step's token, for one sequence."""
    selection, tokens = generation.selection, generation.next_tokens()
    return [] if selection is None or tokens is None else selection_rows(selection, tokens, sequence, vocabulary)


@torch.no_grad()
def selection_rows(selection: Selection, tokens: Tensor, sequence: int, vocabulary: Vocabulary) -> list[Row]:
    """The choice of one sequence's token: the token, how likely it is, and what else could be.

    `rank` counts from 1. `entropy` is in nats, of the distribution that is drawn from; `top` is of that one too. All of
    it in float64: close to certainty the entropy is the difference of nearly equal numbers.
    """
    probs = torch.softmax(selection.scores[sequence].double(), dim=-1)  # (V,)
    token = int(tokens[sequence])
    probability = float(probs[token])
    rank = int((probs > probs[token]).sum()) + 1
    entropy = float(-(probs * probs.clamp_min(torch.finfo(probs.dtype).tiny).log()).sum())
    best, ids = probs.topk(min(TOP_K, probs.numel()))
    top = [
        Row(f"[{i}]", f"{vocabulary.quoted(int(t))}  id {int(t)}  {float(p):.6g}")
        for i, (p, t) in enumerate(zip(best, ids, strict=True))
    ]
    state = "chosen" if selection.tokens is not None else "will be chosen"
    return [
        Row("token", f"{vocabulary.quoted(token)}", "str"),
        Row("id", str(token), "int"),
        Row("state", state),
        Row("probability", f"{probability:.9g}", "float"),
        Row("rank", str(rank), "int"),
        Row("entropy", f"{entropy:.9g}", "float"),
        Row("top", f"{len(top)} most likely", children=Rows(lambda: top, len(top))),
        describe("logits", selection.logits[sequence], expression="logits"),
        describe("scores", selection.scores[sequence], expression="scores"),
        Row("processors", ", ".join(selection.processors) or "none"),
    ]
