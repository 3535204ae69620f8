"""Python over the names of a frame. Looking leaves the random state of the run as it was."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution import randomness
from dap_server.engine.execution.stepping import NOTHING
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.scopes import bound_arguments, frame_locals
from dap_server.protocol.errors import RequestError, did_you_mean

NO_VALUE = object()
"""The result of a statement."""

_RAISED = (Exception, SystemExit, KeyboardInterrupt)
"""What people's code may raise. It ends neither the session nor the model."""


class EvaluationError(RequestError):
    """The expression is wrong or raised; the text is the reason."""

    id = 30
    show_user = False


class Evaluator:
    """Evaluates for people. Names that the console assigns stay until the session ends."""

    def __init__(self, anatomy: Anatomy, tokenizer: Any) -> None:
        self._anatomy, self._tokenizer = anatomy, tokenizer
        self._console: dict[str, Any] = {}
        self._device = next((p.device for p in anatomy.model.parameters()), torch.device("cpu"))

    def names(self, frame: Frame | None) -> dict[str, Any]:
        """Everything that an expression may use in a frame."""
        names = {"torch": torch, "model": self._anatomy.model, "tokenizer": self._tokenizer, **self._console}
        if frame is None:
            return names
        names |= {"step": frame.step, "sequence": frame.sequence, "input_ids": frame.stop.generation.input_ids}
        if (selection := frame.stop.generation.selection) is not None:
            names |= {"logits": selection.logits, "scores": selection.scores, "probs": selection.probs}
        if frame.activation is not None:
            names |= self._module_names(frame)
        return names

    def evaluate(self, expression: str, frame: Frame | None) -> Any:
        """The value of an expression, NO_VALUE for a statement.

        Raises:
            EvaluationError: it does not parse, or it raised.
        """
        if not expression.strip():
            raise EvaluationError("an expression is missing")
        if (module := self._module_at(expression)) is not None:
            return module
        names = self.names(frame)
        with randomness.kept(self._device):
            try:
                return eval(compile(expression.strip(), "<debug console>", "eval"), names)
            except SyntaxError:
                return self._execute(expression, names)
            except _RAISED as error:
                raise EvaluationError(_explain(error, names)) from error

    def hover(self, expression: str, frame: Frame | None) -> Any:
        """The value of names, attributes and indexing only: nothing that runs anybody's code.

        Raises:
            EvaluationError: anything else, and what has no value.
        """
        if (module := self._module_at(expression)) is not None:
            return module
        try:
            return _look(ast.parse(expression.strip(), mode="eval").body, self.names(frame))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            raise EvaluationError("not an expression") from None

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
        return sorted(name for name in self.names(frame) if name.startswith(start))

    def _module_names(self, frame: Frame) -> dict[str, Any]:
        assert frame.activation is not None
        activation, stop = frame.activation, frame.stop
        arguments = frame_locals(activation) if frame.kind == "forward" else bound_arguments(activation)
        inputs = bound_arguments(activation)
        names: dict[str, Any] = {
            "module": activation.module,
            "path": frame.path,
            "layer": self._anatomy.layer_of(frame.path or ""),
            "inputs": inputs,
            "input": next(iter(inputs.values()), None),
        }
        if frame.is_top:
            names["phase"] = stop.place.phase
            if stop.output is not NOTHING:
                names["output"] = stop.output
        return names | arguments

    def _module_at(self, expression: str) -> nn.Module | None:
        """A module path such as `model.layers.3.mlp` is no Python, but a name here."""
        return self._anatomy.modules.get(expression.strip()) if "." in expression else None

    def _execute(self, text: str, names: dict[str, Any]) -> Any:
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
            self._console |= {n: v for n, v in names.items() if n != "__builtins__" and before.get(n) is not v}
        return NO_VALUE


def _explain(error: BaseException, names: Mapping[str, Any]) -> str:
    hint = did_you_mean(error.name, names) if isinstance(error, NameError) and error.name else ""
    return f"{type(error).__name__}: {error}{hint}"


def _look(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            if name not in names:
                raise EvaluationError(f"no name '{name}' here")
            return names[name]
        case ast.Constant(value=value):
            return value
        case ast.Attribute(value=owner, attr=name):
            return _attribute(_look(owner, names), name)
        case ast.Subscript(value=owner, slice=index):
            return _item(_look(owner, names), _index(index))
    raise EvaluationError("only names, attributes and indexing are looked at on hover")


def _attribute(value: Any, name: str) -> Any:
    """An attribute that is stored, or computed by torch itself; Python properties would run code."""
    if isinstance(value, nn.Module):
        for held in (value.__dict__, value._parameters, value._buffers, value._modules):
            if name in held:
                return held[name]
    static = inspect.getattr_static(value, name, NO_VALUE)
    if static is NO_VALUE:
        raise EvaluationError(f"no attribute '{name}'")
    is_stored = not hasattr(type(static), "__get__") or isinstance(static, types.FunctionType)
    if is_stored or isinstance(static, (types.MemberDescriptorType, types.GetSetDescriptorType)):
        return getattr(value, name)
    raise EvaluationError(f"'{name}' is computed by code; type it in the console to run it")


def _item(value: Any, index: Any) -> Any:
    if type(value) not in (list, tuple, dict, str) and not isinstance(value, (Tensor, nn.ModuleList, nn.ModuleDict)):
        raise EvaluationError(f"indexing a {type(value).__name__} would run code")
    try:
        return value[index]
    except (LookupError, TypeError, ValueError) as error:
        raise EvaluationError(f"{type(error).__name__}: {error}") from None


def _index(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
            return -value
        case ast.Tuple(elts=parts):
            return tuple(_index(part) for part in parts)
        case ast.Slice(lower=lower, upper=upper, step=step):
            return slice(*(_index(part) if part else None for part in (lower, upper, step)))
    raise EvaluationError("only constant indexes are looked at on hover")


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
