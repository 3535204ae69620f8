"""Looking without running anybody's code: names, stored attributes, constant indexes, and the line of a value."""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig
from transformers.utils import ModelOutput

from dap_server.engine.inspection.variables import ObjectChildren, Row, describe
from dap_server.protocol.errors import RequestError

_NOTHING = object()
_PLAIN = (Tensor, nn.Parameter, nn.Buffer, dict, list, tuple, str, bytes, bool, int, float, complex, type(None))
_PLAIN_TORCH = (torch.Size, torch.dtype, torch.device)
_ROUTINES = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)


class EvaluationError(RequestError):
    """The expression is wrong or raised; the text is the reason."""

    id = 30
    show_user = False


def look(expression: str, name: Callable[[str], Any]) -> Any:
    """The value of an expression of names, attributes and constant indexes.

    Args:
        name: gives the value of a name, or raises EvaluationError.

    Raises:
        EvaluationError: anything else, and what has no value.
    """
    if not expression.strip():
        raise EvaluationError("an expression is missing")
    try:
        return _look(ast.parse(expression.strip(), mode="eval").body, name)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise EvaluationError("not an expression") from None


def row(value: Any) -> Row:
    """The line of a value; of an object that would have to be asked for it, its class."""
    kind = type(value)
    if kind in (*_PLAIN, *_PLAIN_TORCH) or issubclass(kind, nn.Module | ModelOutput):
        return describe("result", value)
    if kind in _ROUTINES:
        return Row("result", f"{_word(value)} {value.__module__}.{value.__qualname__}" if _has_name(value) else "", "")
    if issubclass(kind, type):
        return Row("result", type.__repr__(value), "type")
    return Row("result", kind.__name__, kind.__name__, ObjectChildren(value, None))


def _has_name(value: Any) -> bool:
    return not isinstance(value, types.ModuleType)


def _word(value: Any) -> str:
    return "method" if isinstance(value, types.MethodType) else "function"


def _look(node: ast.expr, name: Callable[[str], Any]) -> Any:
    match node:
        case ast.Name(id=text):
            return name(text)
        case ast.Constant(value=value):
            return value
        case ast.Attribute(value=owner, attr=text):
            return _attribute(_look(owner, name), text)
        case ast.Subscript(value=owner, slice=index):
            return _item(_look(owner, name), _index(index))
    raise EvaluationError("only names, attributes and indexing are looked at on hover")


def _attribute(value: Any, name: str) -> Any:
    """An attribute that is stored, or computed by torch itself; Python properties would run code."""
    kind = type(value)
    if issubclass(kind, nn.Module):
        for held in (value.__dict__, value._parameters, value._buffers, value._modules):
            if name in held:
                return held[name]
    if issubclass(kind, PretrainedConfig):  # some call their sizes by other names
        name = kind.attribute_map.get(name, name)
    static = inspect.getattr_static(value, name, _NOTHING)
    if static is _NOTHING:
        raise EvaluationError(f"no attribute '{name}'")
    if isinstance(static, types.MemberDescriptorType | types.GetSetDescriptorType):
        if issubclass(kind, Tensor) and kind not in _PLAIN:
            raise EvaluationError(f"a {kind.__name__} is asked by code; type it in the console to run it")
        return static.__get__(value, kind)
    if not hasattr(type(static), "__get__") or isinstance(static, types.FunctionType):
        return static
    if isinstance(static, types.MethodDescriptorType | types.BuiltinFunctionType):
        return static
    raise EvaluationError(f"'{name}' is computed by code; type it in the console to run it")


def _item(value: Any, index: Any) -> Any:
    kind = type(value)
    own = kind in (list, tuple, dict, str, torch.Size, Tensor, nn.Parameter, nn.Buffer)
    if not own and kind not in (nn.ModuleList, nn.ModuleDict, nn.Sequential):
        raise EvaluationError(f"indexing a {kind.__name__} would run code")
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
