"""Python over the names of a frame. Looking leaves the random state of the run as it was."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dap_server.conditions.names import LIBRARIES
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import randomness
from dap_server.engine.execution.operations import NOT_RUN
from dap_server.engine.execution.stepping import NOTHING
from dap_server.engine.inspection.arguments import bound_arguments
from dap_server.engine.inspection.forward_locals import ForwardLocals, frame_locals
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.hovering import EvaluationError, look
from dap_server.engine.inspection.python_frames import in_call
from dap_server.engine.inspection.python_names import assign, has, names_of, python_of
from dap_server.engine.inspection.scopes import processor_locals
from dap_server.engine.inspection.variables import describe
from dap_server.modelmap.patterns import WHOLE_MODEL
from dap_server.protocol.errors import RequestError, did_you_mean

NO_VALUE = object()
"""The result of a statement."""

_LIBRARIES = {"torch": torch, **LIBRARIES}

_RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What people's code may raise. It ends neither the session nor the model."""


class WorkedOut(Protocol):
    """Names of a frame whose values are worked out when they are asked for, such as those of conditions."""

    @property
    def offered(self) -> list[str]:
        """Those that may have a value in the frame."""
        ...

    def __contains__(self, name: object) -> bool: ...

    def __getitem__(self, name: str) -> object:
        """Raises LookupError, which is no KeyError, with the reason why there is no value."""
        ...


class Evaluator:
    """Evaluates for people. Names that the console assigns stay until the session ends."""

    def __init__(
        self,
        anatomy: Anatomy,
        tokenizer: Any,
        local_names: ForwardLocals,
        worked_out: Callable[[Frame], WorkedOut] | None = None,
        functions: Callable[[Frame], Mapping[str, Callable[..., object]]] | None = None,
        unseen: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """An evaluator of one model.

        Args:
            functions: those of the console, which every other name may hide.
            unseen: while it is open, calls of modules are no part of the run: what somebody types may make some.
        """
        self._unseen = unseen
        self._anatomy, self._tokenizer, self._locals = anatomy, tokenizer, local_names
        self._worked_out, self._functions = worked_out, functions
        self._console: dict[str, Any] = {}
        self._device = next((p.device for p in anatomy.model.parameters()), torch.device("cpu"))

    def adopt(self, tokenizer: Any) -> None:
        """A tokenizer that was found later."""
        self._tokenizer = tokenizer

    def names(self, frame: Frame | None) -> dict[str, Any]:
        """Everything that an expression may use in a frame. In a Python frame its own names hide all of ours."""
        names = {**_LIBRARIES, **self._console}
        if not self._anatomy.is_empty:
            names = {**_LIBRARIES, "model": self._anatomy.model, "tokenizer": self._tokenizer, **self._console}
        if frame is None:
            return names
        if self._functions is not None:
            names = {**self._functions(frame), **names}
        if in_call(frame.stop):
            names |= self._names_of_call(frame)
        if frame.stop.uncaught is not None:
            names |= {"__exception__": frame.stop.uncaught.error}
        if (python := python_of(frame)) is not None:
            ours = {name: value for name, value in names.items() if not hasattr(builtins, name)}
            return ours | names_of(python)
        return names | processor_locals(frame) if frame.kind == "call" else names

    def _names_of_call(self, frame: Frame) -> dict[str, Any]:
        names: dict[str, Any] = {}
        names |= {"step": frame.step, "sequence": frame.sequence, "input_ids": frame.stop.generation.input_ids}
        if (prompts := frame.stop.generation.prompts_of(frame.stop.generation.edits)) is not None:
            names |= {"prompt": prompts[min(frame.sequence, len(prompts) - 1)]}
        if (tape := frame.stop.generation.tape) is not None and tape.cache is not None:
            names |= {"cache": tape.cache}
        if (selection := frame.stop.generation.selection) is not None:
            names |= {"logits": selection.logits, "scores": selection.scores, "probs": selection.probs}
        if frame.activation is not None:
            names |= self._module_names(frame)
        if frame.processor is not None:
            names |= {"processor": frame.processor}
        return names

    def evaluate(self, expression: str, frame: Frame | None) -> Any:
        """The value of an expression, NO_VALUE for a statement.

        Raises:
            EvaluationError: it does not parse, or it raised.
        """
        if not expression.strip():
            raise EvaluationError("an expression is missing")
        if (module := self._module_at(expression, frame)) is not None:
            return module
        names = self.names(frame)
        if frame is not None and self._locals.is_over(frame):
            names = self._with_final_locals(expression, names, frame)
        if (more := self._more(frame)) is not None:
            names = _Names(names, more)
        with self._unseen(), randomness.kept(self._device):
            try:
                return eval(compile(expression.strip(), "<debug console>", "eval"), names)
            except SyntaxError:
                return self._execute(expression, names, frame)
            except RequestError:
                raise
            except _RAISED as error:
                raise EvaluationError(_explain(error, names)) from error

    def hover(self, expression: str, frame: Frame | None) -> Any:
        """The value of names, attributes and indexing only: nothing that runs anybody's code.

        Local names of a `forward` that has returned come from a replay, which runs only where it is quick: a popup that
        comes late is worse than none.

        Raises:
            EvaluationError: anything else, and what has no value.
        """
        if (module := self._module_at(expression, frame)) is not None:
            return module
        names = self.names(frame) if frame is None else self.names(frame) | self._locals.at_hand(frame)

        def name(text: str) -> Any:
            if text in names:
                return names[text]
            if frame is not None and self._locals.has(frame, text):
                return self._local(text, frame)
            if (more := self._more(frame)) is not None and text in more:
                return _value(more, text)
            found = {} if frame is None else self._locals.globals_of(frame)
            if text not in found:
                raise EvaluationError(f"no name '{text}' here")
            return found[text]

        return look(expression, name)

    def _local(self, name: str, frame: Frame) -> Any:
        """Of the `forward` of a frame, though it is not at hand."""
        if not self._locals.is_over(frame):
            raise EvaluationError(f"'{name}' has no value yet")
        if not self._locals.is_quick(frame):
            raise EvaluationError(f"'{name}' is known by running the step again: open Locals")
        found = self._locals.again(frame)
        if found is None or name not in found.names:
            raise EvaluationError(f"'{name}' had no value when forward returned")
        return found.names[name]

    def as_python(self, expression: str, frame: Frame | None = None) -> str:
        """The expression itself, or what Python calls a module path."""
        if self._module_at(expression, frame) is None:
            return expression
        return f"model.get_submodule({expression.strip()!r})"

    def assign(self, target: str, value: str, frame: Frame) -> str:
        """Gives what an expression names another value, as Python does, and says which it has then.

        Raises:
            EvaluationError: that is nothing that can be assigned to, or it raised.
        """
        text = f"float({value.strip()!r})" if value.strip() in ("nan", "inf", "-inf") else value  # as rows show them
        self.evaluate(text, frame)  # alone it has to be an expression
        if self.evaluate(f"{target} = ({text})", frame) is not NO_VALUE:
            raise EvaluationError(f"'{target}' cannot be assigned to")
        return describe("result", self.evaluate(target, frame)).value

    def has_assigned(self, name: str) -> bool:
        """Whether it is a name of the console's own."""
        return name in self._console

    def is_held(self, expression: str, frame: Frame | None, value: object) -> bool:
        """Whether an expression only names what is there, so that writing into its value changes what the run uses."""
        if value is None or isinstance(value, bool | int | float | complex | str | bytes):
            return False  # nobody can write into it
        try:
            seen = [self.hover(expression, frame) for _ in range(2)]
        except RequestError:
            return False
        if isinstance(value, Tensor):
            return all(isinstance(other, Tensor) and _is_same_memory(value, other) for other in seen)
        return all(other is value for other in seen)

    def completions(self, text: str, frame: Frame | None) -> list[str]:
        """Names that continue the last dotted name of a text."""
        owner, _, start = text.rpartition(".")
        owner = _last_name(owner)
        if owner:
            try:
                value = self.hover(owner, frame)
            except RequestError:
                return []
            return sorted(name for name in _attribute_names(value) if name.startswith(start))
        start = _last_name(start)
        offered = [] if (more := self._more(frame)) is None else more.offered
        return sorted(name for name in {*self.names(frame), *offered} if name.startswith(start))

    def _with_final_locals(self, text: str, names: dict[str, Any], frame: Frame) -> dict[str, Any]:
        """Also the local names of a `forward` that has returned, if one is meant that is not at hand."""
        try:
            used = {node.id for node in ast.walk(ast.parse(text.strip())) if isinstance(node, ast.Name)}
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return names  # compiling it says what is wrong
        names = names | self._locals.at_hand(frame)
        if frame.kind == "past layer" and "output" in used and "output" not in names:
            names = names | {"output": self._locals.output(frame)}
        if not any(name not in names and self._locals.has(frame, name) for name in used):
            return names
        found = self._locals.again(frame)
        return names if found is None else names | found.names

    def _module_names(self, frame: Frame) -> dict[str, Any]:
        assert frame.activation is not None
        activation, stop = frame.activation, frame.stop
        inputs = bound_arguments(activation)
        arguments = frame_locals(activation) if frame.kind == "forward" else inputs
        names: dict[str, Any] = {
            "module": activation.module,
            "path": frame.path or WHOLE_MODEL,
            "layer": self._anatomy.layer_of(frame.path or ""),
            "inputs": inputs,
            "input": next(iter(inputs.values()), None),
        }
        if frame.is_top:
            names["phase"] = stop.place.phase
            if stop.output is not NOTHING:
                names["output"] = stop.output
        if frame.kind == "operation" and stop.operation is not None:
            arguments = {**arguments, **stop.operation.operands}
            if stop.operation.result is not NOT_RUN:
                arguments["result"] = stop.operation.result
        return names | arguments

    def _more(self, frame: Frame | None) -> WorkedOut | None:
        """What is worked out where a model runs."""
        if frame is None or self._worked_out is None or not in_call(frame.stop):
            return None
        return self._worked_out(frame)

    def _module_at(self, expression: str, frame: Frame | None) -> nn.Module | None:
        """A module path such as `model.layers.3.mlp` is no Python, but a name here.

        One that is Python too, as `model.norm` is, means in a Python frame what it means to Python.
        """
        path = expression.strip()
        if "." not in path or path not in self._anatomy.modules:
            return None
        python = python_of(frame)
        if python is not None and not any(map(str.isdigit, path.split("."))) and has(python, path.partition(".")[0]):
            return None
        return self._anatomy.modules[path]

    def _execute(self, text: str, names: dict[str, Any], frame: Frame | None) -> Any:
        try:
            code = compile(text, "<debug console>", "exec")
        except SyntaxError as error:
            column = f" (column {error.offset})" if error.offset else ""
            raise EvaluationError(f"{error.msg}{column}") from None
        before = dict(names)
        try:
            exec(code, names)
        except _RAISED as error:
            raise EvaluationError(_explain(error, names)) from error
        finally:
            changed = {n: v for n, v in names.items() if n != "__builtins__" and before.get(n) is not v}
            if frame is not None and python_of(frame) is not None:
                changed = assign(frame, changed)
            self._console |= changed
        return NO_VALUE


class _Names(dict[str, Any]):
    """Names with their values, and others behind them whose values are worked out."""

    def __init__(self, names: dict[str, Any], more: WorkedOut) -> None:
        super().__init__(names)
        self._more = more

    def __missing__(self, name: str) -> Any:
        if name in self._more:
            return self._more[name]
        raise KeyError(name)


def _value(names: WorkedOut, name: str) -> object:
    try:
        return names[name]
    except LookupError as error:
        raise EvaluationError(str(error)) from None


def _is_same_memory(tensor: Tensor, other: Tensor) -> bool:
    if tensor is other:
        return True
    try:
        return tensor.data_ptr() == other.data_ptr() != 0
    except RuntimeError:  # without memory of its own
        return False


def _explain(error: BaseException, names: Mapping[str, Any]) -> str:
    hint = did_you_mean(error.name, names) if isinstance(error, NameError) and error.name else ""
    return f"{type(error).__name__}: {error}{hint}"


def _last_name(text: str) -> str:
    """The dotted name, with constant indexes, at the end of a text."""
    depth, i = 0, len(text)
    while i > 0:
        c = text[i - 1]
        depth += (c == "]") - (c == "[")
        if depth < 0 or (depth == 0 and not (c.isalnum() or c in "._[]")):
            break
        i -= 1
    return text[i:]


def _attribute_names(value: Any) -> set[str]:
    names = set(dir(type(value))) | set(getattr(value, "__dict__", {}))
    if isinstance(value, nn.Module):
        names |= {*value._parameters, *value._buffers, *value._modules}
    return {name for name in names if not name.startswith("__")}
