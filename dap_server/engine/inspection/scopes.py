"""What can be seen in a frame, by scope."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from dap_server.engine.anatomy.arguments import bind
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.operations import NOT_RUN
from dap_server.engine.execution.stepping import NOTHING, Stop
from dap_server.engine.inspection.answer_rows import answer_rows
from dap_server.engine.inspection.arguments import bound_arguments
from dap_server.engine.inspection.choices import Choices
from dap_server.engine.inspection.forward_locals import ForwardLocals
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.past import Past
from dap_server.engine.inspection.python_names import global_rows, local_rows, python_of
from dap_server.engine.inspection.selection_rows import choice_rows, processor_rows
from dap_server.engine.inspection.variables import Children, ModuleChildren, Positions, Row, Rows, describe

HEADS = ("num_attention_heads", "num_key_value_heads", "n_head", "num_heads", "n_heads")
EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
"""What configurations call the sizes of axes."""


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
        self._known: tuple[weakref.ref[Stop], Positions | None] | None = None
        self.choices = Choices(self._past)
        self.locals = ForwardLocals(anatomy, self._past)

    def forget(self) -> None:
        """Somebody may have written to what the run uses: what was found by replay may not hold any more."""
        self._past.forget()
        self._known = None

    def of(self, frame: Frame) -> list[Scope]:
        """The scopes that fit a frame. Nothing is computed before a scope is opened."""
        match frame.kind:
            case "operation":
                return [*self._operation(frame), *self._returned(frame.stop), *self._tokens(frame)]
            case "module":
                return [*self._module(frame), *self._tokens(frame)]
            case "forward":
                return self._python(frame) or self._locals(frame)
            case "step" if frame.stop.generation.answers and frame.stop.generation.is_over:
                said = frame.stop.generation.answers[frame.sequence]
                result = Scope("Result", Rows(lambda: answer_rows(said)), "returnValue")
                return [result, *self._past_call(frame, ""), *self._tokens(frame)]
            case "selection" | "step":
                return [*self._selection(frame), *self._returned(frame.stop), *self._tokens(frame)]
            case "call":
                return self._call_locals(frame)
            case "python":
                return self._python(frame)
            case "past layer":
                path = frame.path or ""
                return [
                    *self._past_call(frame, path),
                    *self._locals(frame),
                    self._parameters(self._anatomy.modules[path]),
                ]
            case "past step":
                token = Scope("Token", Rows(lambda: self._past_token(frame)))
                called = [*self._past_call(frame, ""), *self._locals(frame)]
                return [token, *self._selection(frame), *called, *self._tokens(frame)]
            case "prompt":
                return [*self._tokens(frame)]
        return []

    def _module(self, frame: Frame) -> list[Scope]:
        assert frame.activation is not None
        activation, stop = frame.activation, frame.stop
        scopes = [Scope("Inputs", Rows(lambda: _argument_rows(activation, self._positions(stop))), "arguments")]
        if frame.is_top and stop.output is not NOTHING:
            output = Rows(lambda: _output_rows(stop.output, self._positions(stop)))
            scopes.append(Scope("Output", output, "returnValue"))
        if frame.is_top and stop.operation is None:
            scopes.extend(self._returned(stop))
        return [*scopes, self._parameters(activation.module, "module")]

    def _operation(self, frame: Frame) -> list[Scope]:
        """What an operation is given, by the names of its schema, and what it gave."""
        stop, operation = frame.stop, frame.stop.operation
        assert operation is not None
        operands, result = operation.operands, operation.result

        def given() -> list[Row]:
            positions = self._positions(stop)
            return [describe(name, value, positions, name) for name, value in operands.items()]

        scopes = [Scope("Operands", Rows(given), "arguments")]
        if result is not NOT_RUN:
            gave = Rows(lambda: [describe("result", result, self._positions(stop), "result")])
            scopes.append(Scope("Result", gave))
        return scopes

    def _past_call(self, frame: Frame, path: str) -> list[Scope]:
        """Inputs and output of a module call that is over, run again when they are opened."""

        def inputs() -> list[Row]:
            call = self._past.call(frame.stop, frame.step, path)
            if call is None:
                return []
            bound = bind(self._anatomy.modules[path], call.args, call.kwargs)
            positions = self._past_positions(frame)
            return [describe(name, value, positions) for name, value in bound.items()]

        def output() -> list[Row]:
            call = self._past.call(frame.stop, frame.step, path)
            name = "output" if frame.kind == "past layer" else None
            return [] if call is None else [describe("output", call.output, self._past_positions(frame), name)]

        if frame.stop.generation.tape is None:
            return []
        return [
            Scope("Inputs", Rows(inputs), "arguments", expensive=True),
            Scope("Output", Rows(output), "returnValue", expensive=True),
        ]

    def _returned(self, stop: Stop) -> list[Scope]:
        """What the module or operation gave that was stepped over to come here."""
        if stop.returned is None:
            return []
        path, output = stop.returned
        name, is_live = self._anatomy.name_of(path), path not in self._anatomy.modules  # a module's is kept by value
        rows = Rows(lambda: [describe(name, output, self._positions(stop), is_live=is_live)])
        return [Scope("Returned", rows, "returnValue")]

    def _parameters(self, module: nn.Module, expression: str | None = None) -> Scope:
        return Scope("Parameters", ModuleChildren(module, expression))

    def _locals(self, frame: Frame) -> list[Scope]:
        """Of the Python `forward`; of one that has returned by running it again, when they are opened."""
        if self.locals.is_over(frame):
            return [Scope("Locals", Rows(lambda: self.locals.rows(frame)), "locals", expensive=True)]
        if frame.activation is None:
            return []
        return [Scope("Locals", Rows(lambda: self.locals.live_rows(frame, self._positions(frame.stop))), "locals")]

    def _tokens(self, frame: Frame) -> list[Scope]:
        rows = TokenRows(frame, self._vocabulary)
        return [Scope("Tokens", rows)] if rows.indexed else []

    def _selection(self, frame: Frame) -> list[Scope]:
        """The choice of a token, and what the logits processor of the frame makes of it."""
        choices, vocabulary = self.choices, self._vocabulary
        scopes: list[Scope] = []
        if choices.has_stage(frame):
            rows = Rows(lambda: processor_rows(choices.stage(frame), choices.token(frame), vocabulary))
            scopes.append(Scope("Processor", rows, expensive=not choices.is_stage_kept(frame)))
        if choices.has_choice(frame):
            is_present = choices.is_kept(frame)
            sequence = frame.sequence if is_present else None
            rows = Rows(lambda: choice_rows(choices.choice(frame), vocabulary, sequence))
            scopes.append(Scope("Sampling", rows, expensive=not is_present))
        return scopes

    def _python(self, frame: Frame) -> list[Scope]:
        """Of a Python frame that stands at a line, or around one."""
        python = python_of(frame)
        if python is None:
            return []
        positions = self._positions(frame.stop)
        return [
            Scope("Locals", Rows(lambda: local_rows(python, positions)), "locals"),
            Scope("Globals", Rows(lambda: global_rows(python)), "globals"),
        ]

    def _call_locals(self, frame: Frame) -> list[Scope]:
        """Of the `__call__` of a logits processor: its local names, or what it is called with."""
        names = processor_locals(frame)
        return [Scope("Locals", Rows(lambda: _named_rows(names, None)), "locals")]

    def _past_token(self, frame: Frame) -> list[Row]:
        record = frame.stop.generation.records[frame.step]
        token = int(record.tokens[frame.sequence])
        return [
            Row("token", self._vocabulary.quoted(token), "str", edit="token"),
            Row("id", str(token), "int", edit="token"),
            Row("probability", f"{float(record.probability[frame.sequence]):.9g}", "float"),
        ]

    def positions(self, frame: Frame) -> Positions | None:
        """The tokens that a frame's tensors are about."""
        return self._past_positions(frame) if frame.is_past else self._positions(frame.stop)

    def _positions(self, stop: Stop) -> Positions | None:
        """The tokens of the running forward, found once at a stop."""
        if self._known is None or self._known[0]() is not stop:
            self._known = weakref.ref(stop), self._running_positions(stop)
        return self._known[1]

    def _running_positions(self, stop: Stop) -> Positions | None:
        """Taken from what the whole model was called with."""
        if not stop.activations:
            return None
        root = stop.activations[-1]
        named = root.kwargs
        ids = named["input_ids"] if "input_ids" in named else bound_arguments(root).get("input_ids")
        if not isinstance(ids, Tensor) or ids.dim() != 2:
            return None
        return self._labelled(ids.tolist(), stop, stop.generation.step)

    def _past_positions(self, frame: Frame) -> Positions | None:
        """The tokens that a past step worked on."""
        generation = frame.stop.generation
        if generation.input_ids is None or not generation.is_own_loop:
            return None
        end = generation.prompt_length + frame.step
        first = 0 if frame.step == 0 else end - 1
        return self._labelled(generation.input_ids[:, first:end].tolist(), frame.stop, frame.step)

    def _labelled(self, ids: list[list[int]], stop: Stop, step: int) -> Positions:
        """`ids`: B rows of the T tokens of a forward in a step."""
        generation = stop.generation
        text: list[list[int]] = []
        if generation.is_own_loop and generation.input_ids is not None and len(generation.input_ids) == len(ids):
            text = generation.input_ids[:, : generation.prompt_length + step].tolist()
        return Positions(ids, self._vocabulary, text, *self._sizes)

    @cached_property
    def _sizes(self) -> tuple[frozenset[int], int, int]:
        """What the configuration says of heads, experts and the vocabulary, as `Positions` takes it."""
        config = text_config(self._anatomy.model)
        return (
            frozenset(n for name in HEADS if isinstance(n := getattr(config, name, None), int)),
            next((n for name in EXPERTS if isinstance(n := getattr(config, name, None), int)), 0),
            getattr(config, "vocab_size", 0),
        )


class TokenRows:
    """The tokens of a sequence up to a frame's step: ids and text, what is padding, what was generated.

    Where the prompt can be another text, it is a row of its own.
    """

    def __init__(self, frame: Frame, vocabulary: Vocabulary) -> None:
        self._vocabulary, self._sequence = vocabulary, frame.sequence
        generation = frame.stop.generation
        prompts = generation.prompts_of(generation.edits) or []
        self._prompt = prompts[min(self._sequence, len(prompts) - 1)] if prompts else None
        self.named = 0 if self._prompt is None else 1
        if frame.kind == "prompt" and generation.encoded is not None:
            generation = generation.encoded
        self._generation = generation
        ids = generation.input_ids
        self.indexed = 0
        if ids is not None:
            whole = (frame.kind == "step" and generation.is_over) or not generation.is_own_loop
            known = ids.shape[1] if whole else generation.prompt_length + frame.step
            self.indexed = generation.prompt_length if frame.kind == "prompt" else min(known, ids.shape[1])

    def named_rows(self) -> list[Row]:
        return [] if self._prompt is None else [Row("prompt", repr(self._prompt), "str", expression="prompt")]

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


def text_config(model: nn.Module) -> Any:
    """The part of a model's configuration that is about text; None for a model without one."""
    config: Any = getattr(model, "config", None)
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def processor_locals(frame: Frame) -> dict[str, Any]:
    """Local names of the `__call__` of a logits processor; while it is not running, what it is called with."""
    if frame.running is not None:
        return dict(frame.running.f_locals)
    given = frame.stop.generation.selection
    if given is None or frame.stop.place.phase == "after":
        return {"self": frame.processor, "input_ids": frame.stop.generation.input_ids}
    return {"self": frame.processor, "input_ids": frame.stop.generation.input_ids, "scores": given.scores}


def _argument_rows(activation: Activation, positions: Positions | None) -> list[Row]:
    return _named_rows(bound_arguments(activation), positions)


def _named_rows(values: dict[str, Any], positions: Positions | None) -> list[Row]:
    """Values of the suspended run, by names that expressions know."""
    return [
        describe(name, value, positions, name if name.isidentifier() else None, is_live=True)
        for name, value in values.items()
    ]


def _output_rows(output: object, positions: Positions | None) -> list[Row]:
    return [describe("output", output, positions, "output", is_live=True)]
