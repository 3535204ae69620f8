"""What a call in a condition gives, and which calls have the host wait for the device."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from dap_server.conditions.deferred.calls import (
    FUNCTIONS,
    INSTEAD,
    JOINING,
    METHODS,
    TENSOR_ARGUMENTS,
    TENSOR_KEYWORDS,
    WAITING,
    Result,
)
from dap_server.conditions.deferred.parts import (
    HOST,
    RESULTS,
    Value,
    Waits,
    arguments_of,
    beside,
    is_text,
    is_torch,
    is_torch_module,
    looked_up,
    short,
    unknown,
)

if TYPE_CHECKING:
    from dap_server.conditions.deferred.values import ValueKinds

_NUMBERS = {"float", "int", "len", "ord"}
"""Python's functions that give a number of whatever they are given."""

_NUMBERS_OF_NUMBERS = {"abs", "max", "min", "round"}
NUMBERS_OF_MATH = frozenset(
    ["ceil", "e", "exp", "floor", "inf", "log", "log10", "log1p", "log2", "nan", "pi", "pow", "sqrt", "tau"]
)


class Calls:
    """Every method raises Waits."""

    def __init__(self, kinds: ValueKinds) -> None:
        self._kinds = kinds

    def value(self, node: ast.Call) -> Value:
        function = node.func
        if isinstance(function, ast.Subscript) and looked_up(function) == "attention":
            self._kinds.all_host(node, arguments_of(node))
            return Value.TENSOR
        if isinstance(function, ast.Name) and function.id not in self._kinds.bound:
            return self._builtin(node, function.id)
        if not isinstance(function, ast.Attribute):
            return self._kinds.all_host(node, [function, *arguments_of(node)])
        if is_torch(function.value):
            return self._torch(node, function.attr)
        if is_torch_module(function.value):
            raise Waits(unknown(node))
        if (library := self._kinds.library(function.value)) is not None:
            is_number = library == "math" and function.attr in NUMBERS_OF_MATH
            hint = f"write torch.{function.attr}()" if library == "math" and function.attr in FUNCTIONS else ""
            return self._of_host(node, f"{library}.{function.attr}()", hint, is_number)
        of = self._kinds.value(function.value)
        if of is Value.TENSOR:
            return self._method(node, function)
        if of in HOST:
            return self._of_host(node, f".{function.attr}()")
        raise Waits(unknown(node))

    def _builtin(self, node: ast.Call, name: str) -> Value:
        arguments = [self._kinds.listed(one) for one in arguments_of(node)]
        if name == "abs" and arguments in ([Value.TENSOR], [Value.NUMBER]):
            return arguments[0]
        if name == "len" and arguments == [Value.TENSOR]:
            return Value.PLAIN
        if name == "isinstance" and arguments[:1] == [Value.TENSOR]:
            return self._kinds.all_host(node, node.args[1:])
        is_number = name in _NUMBERS or (name in _NUMBERS_OF_NUMBERS and set(arguments) == {Value.PLAIN})
        is_number = is_number and (len(arguments) > 1 or name not in ("max", "min"))
        return self._of_host(node, f"{name}()", INSTEAD.get(name, ""), is_number, " of Python")

    def _of_host(self, node: ast.Call, name: str, hint: str = "", is_number: bool = False, of: str = "") -> Value:
        """A function that takes what the host knows."""
        values = [self._kinds.listed(argument) for argument in arguments_of(node)]
        if all(value in HOST for value in values):
            return Value.PLAIN if is_number else Value.HOST
        hint = hint if Value.TENSOR in values and Value.NUMBER not in values else ""
        raise Waits(f"`{name}`{of} needs the number{': ' if hint else ''}{hint}")

    def _torch(self, node: ast.Call, name: str) -> Value:
        if name in ("finfo", "iinfo"):
            return self._kinds.all_host(node, arguments_of(node))
        if name in WAITING:
            raise Waits(_waiting(f"torch.{name}()", name))
        if name == "where" and len(node.args) == 1:
            raise Waits("`torch.where()` of one argument waits for the device: give it three")
        if name not in FUNCTIONS or not node.args:
            raise Waits(unknown(node))
        first = node.args[0]
        if name in JOINING and isinstance(first, ast.List | ast.Tuple):
            is_fit = all(self._kinds.value(element) is Value.TENSOR for element in first.elts)
        else:
            is_fit = self._kinds.value(first) is Value.TENSOR
        if not is_fit:
            raise Waits(unknown(node))
        return self._computed(node, name, node.args[1:], FUNCTIONS[name])

    def _method(self, node: ast.Call, function: ast.Attribute) -> Value:
        name = function.attr
        if name in WAITING:
            raise Waits(_waiting(f".{name}()", name))
        if name == "to":
            return self._converted(node)
        if name not in METHODS:
            raise Waits(unknown(node))
        if name == "size" and (node.args or node.keywords):
            self._kinds.all_host(node, arguments_of(node))
            return Value.PLAIN
        return self._computed(node, name, node.args, METHODS[name])

    def _converted(self, node: ast.Call) -> Value:
        """`.to(…)`: to another device it waits."""
        arguments = arguments_of(node)
        if len(arguments) == 1:
            if is_text(arguments[0]):
                raise Waits(f"`.to({short(arguments[0])})` waits for the device: leave it away")
            (kind,) = arguments
            if isinstance(kind, ast.Attribute) and (is_torch(kind.value) or kind.attr == "dtype"):
                self._kinds.value(kind)
                return Value.TENSOR
        raise Waits(unknown(node))

    def _computed(self, node: ast.Call, name: str, arguments: list[ast.expr], result: Result) -> Value:
        """A call of torch, with the arguments behind its tensor."""
        values = []
        for i, argument in enumerate(arguments, 1):
            values.append(self._given(node, argument, i in TENSOR_ARGUMENTS.get(name, ())))
        for keyword in node.keywords:
            if keyword.arg in (None, "out"):
                raise Waits(unknown(node))
            can_be_tensor = name in TENSOR_ARGUMENTS and keyword.arg in TENSOR_KEYWORDS
            values.append(self._given(node, keyword.value, can_be_tensor))
        if name in ("max", "min") and values and Value.TENSOR not in values:
            return Value.SEVERAL  # along an axis
        return RESULTS[result]

    def _given(self, node: ast.Call, argument: ast.expr, can_be_tensor: bool) -> Value:
        value = self._kinds.value(argument)
        if is_text(argument) or not (value in HOST or (can_be_tensor and value is Value.TENSOR)):
            raise Waits(beside(argument) if value is Value.NUMBER else unknown(node))
        return value


def _waiting(call: str, name: str) -> str:
    hint = WAITING[name]
    return f"`{call}` waits for the device{': ' if hint else ''}{hint}"
