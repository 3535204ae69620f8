"""Which parts of a condition are computed on the device, and what of it would have the host wait for them.

The names that are numbers for people, such as `norm`, stay on the device while a condition is deferred: as tensors ()
in float64, which are to mean what Python's numbers mean. What differs, such as a division by zero, is not deferred.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from dap_server.conditions.deferred.calls import ATTRIBUTES, CONSTANTS, PARTS
from dap_server.conditions.deferred.functions import NUMBERS_OF_MATH, Calls
from dap_server.conditions.deferred.parts import (
    HOST,
    RESULTS,
    Value,
    Waits,
    beside,
    counted,
    is_limits,
    is_other_than_zero,
    is_torch,
    looked_up,
    quoted,
    short,
    unknown,
)
from dap_server.conditions.names import EVERYWHERE, LIBRARIES, Name

_EXACT = 2**53
"""Whole numbers up to this are the same in float64."""

_LIMITS = {"eps", "max", "min", "smallest_normal", "tiny"}


class ValueKinds:
    """Reads the tree of a condition whose names are looked up in the place.

    Every method raises Waits.
    """

    def __init__(self, names: Mapping[str, Name]) -> None:
        """`names`: those of the place that are used."""
        self._names = names
        self.bound: dict[str, Value] = {}
        """What the expression binds itself, here."""
        self._calls = Calls(self)

    # --- what is asked whether it is true

    def is_on_device(self, node: ast.expr) -> bool:
        """Whether the truth of a part is known on the device only."""
        match node:
            case ast.BoolOp(values=values):
                return self._is_any_on_device(values)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.is_on_device(operand)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._host_test(node, test)
                return self._is_any_on_device([body, orelse])
            case ast.Compare():
                return any(value not in HOST for value in self._comparisons(node))
        if (parts := counted(node)) is not None:
            return self._is_counted_on_device(parts)
        value = self.value(node)
        if value is Value.SEVERAL:
            raise Waits(f"{quoted(node)} is a tuple, and always true")
        return value not in HOST

    def _is_counted_on_device(self, parts: ast.expr) -> bool:
        match parts:
            case (
                ast.GeneratorExp(elt=element, generators=generators) | ast.ListComp(elt=element, generators=generators)
            ):
                with self._loops(generators):
                    return self.is_on_device(element)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return self._is_any_on_device(elements)
        raise AssertionError(parts)

    def _is_any_on_device(self, parts: list[ast.expr]) -> bool:
        return True in [self.is_on_device(part) for part in parts]

    def _host_test(self, node: ast.expr, test: ast.expr) -> None:
        if self.is_on_device(test):
            raise Waits(f"`if {short(test)}` has to know it at once: write torch.where()")

    # --- what is computed with

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=value):
                is_exact = type(value) is float or (type(value) is int and abs(value) <= _EXACT)
                return Value.PLAIN if is_exact else Value.HOST
            case ast.Name(id=id):
                return self.bound.get(id, Value.HOST)
            case ast.Subscript() if (name := looked_up(node)) is not None:
                return self._name(name, node)
            case ast.Subscript():
                return self._subscript(node)
            case ast.BinOp():
                return self._arithmetic(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.Compare():
                return self._compared(node)
            case ast.Call():
                return self._calls.value(node)
            case ast.Attribute():
                return self._attribute(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._host_test(node, test)
                return self._either(node, [body, orelse])
            case ast.BoolOp(values=values):
                return self._either(node, values, is_truth=True)
            case ast.FormattedValue(value=inner):
                self._host_only(inner, f"a text with {quoted(inner)} in it needs the number")
                return Value.HOST
            case ast.Lambda(args=arguments, body=body):
                defaults = [one for one in (*arguments.defaults, *arguments.kw_defaults) if one is not None]
                self.all_host(node, defaults)
                ones = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                ones += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
                with self._binding({one.arg: Value.HOST for one in ones}):
                    return self.all_host(node, [body])
            case ast.GeneratorExp(generators=loops) | ast.ListComp(generators=loops) | ast.SetComp(generators=loops):
                with self._loops(loops):
                    return self.all_host(node, [node.elt])
            case ast.DictComp(generators=loops, key=key, value=inner):
                with self._loops(loops):
                    return self.all_host(node, [key, inner])
        return self.all_host(node, [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)])

    def _name(self, name: str, node: ast.expr) -> Value:
        known = self._names[name]
        if known.kind in ("module", "function", "list"):
            what = f"{name}({known.parameter})" if known.parameter else name
            raise Waits(f"`{what}` is known on the host only" if known.kind != "module" else unknown(node))
        if known.kind == "tensor":
            return Value.TENSOR
        if known.where == EVERYWHERE:
            return Value.HOST if known.kind == "text" else Value.PLAIN
        if known.kind == "text":
            raise Waits(f"`{name}` is known on the host only")
        return Value.NUMBER

    def _subscript(self, node: ast.Subscript) -> Value:
        of, index = self.value(node.value), node.slice
        if of in HOST:
            self.all_host(node, [index], f"{quoted(index)} is on the device, and what it is looked up in on the host")
            is_shape = isinstance(node.value, ast.Attribute) and node.value.attr == "shape"
            return Value.PLAIN if is_shape and not isinstance(index, ast.Slice) else Value.HOST
        if of is Value.SEVERAL:
            if self.value(index) is Value.PLAIN:
                return Value.TENSOR
        elif of is Value.TENSOR:
            for one in index.elts if isinstance(index, ast.Tuple) else [index]:
                self._check_index(one)
            return Value.TENSOR
        raise Waits(unknown(node))

    def _check_index(self, index: ast.expr) -> None:
        if isinstance(index, ast.Slice):
            for end in (index.lower, index.upper, index.step):
                if end is not None:
                    self._check_index(end)
        elif not (isinstance(index, ast.Constant) and (index.value is None or index.value is ...)):
            value = self.value(index)
            if value in HOST and value is not Value.PLAIN:
                raise Waits(f"{quoted(index)} in [ ] is not known to be a number")
            if value is not Value.PLAIN:
                hint = ": write torch.where(), or torch.take()" if value is Value.TENSOR else ""
                raise Waits(f"{quoted(index)} in [ ] has to be read{hint}")

    def _arithmetic(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        sides = {left, right}
        if sides <= {*HOST}:
            return Value.PLAIN if sides == {Value.PLAIN} else Value.HOST
        if sides <= {Value.TENSOR, Value.PLAIN}:
            return Value.TENSOR
        if isinstance(node.op, ast.BitAnd | ast.BitOr | ast.BitXor) and sides <= {Value.FLAG, Value.TENSOR}:
            return Value.FLAG if sides == {Value.FLAG} else Value.TENSOR
        if sides == {Value.NUMBER, Value.TENSOR}:
            raise Waits(beside(node.left if left is Value.NUMBER else node.right))
        if sides <= {Value.NUMBER, Value.PLAIN}:
            if isinstance(node.op, ast.Add | ast.Sub | ast.Mult):
                return Value.NUMBER
            if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
                if is_other_than_zero(node.right):
                    return Value.NUMBER
                raise Waits(f"a division by {quoted(node.right)} has to know whether it is 0")
            raise Waits(f"{quoted(node)} is computed by Python: write it with + - * and /")
        raise Waits(unknown(node))

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            if self.is_on_device(node.operand):
                raise Waits(f"{quoted(node)} is computed with, and needs the number")
            return Value.HOST
        value = self.value(node.operand)
        if value in (Value.FLAG, Value.SEVERAL) or (value is Value.NUMBER and isinstance(node.op, ast.Invert)):
            raise Waits(unknown(node))
        return value

    def _compared(self, node: ast.Compare) -> Value:
        values = self._comparisons(node)
        if len(values) == 1:
            return values[0]
        if all(value in HOST for value in values):
            return Value.HOST
        raise Waits(f"{quoted(node)} is computed with: write its comparisons one by one, with & between them")

    def _comparisons(self, node: ast.Compare) -> list[Value]:
        """What each of them gives."""
        sides = [node.left, *node.comparators]
        values = [self.value(side) for side in sides]
        return [self._pair(node, operator, sides[i : i + 2], values[i : i + 2]) for i, operator in enumerate(node.ops)]

    def _pair(self, node: ast.Compare, operator: ast.cmpop, sides: list[ast.expr], values: list[Value]) -> Value:
        if all(value in HOST for value in values):
            return Value.HOST
        if isinstance(operator, ast.Is | ast.IsNot):
            if any(isinstance(side, ast.Constant) for side in sides) or set(values) == {Value.TENSOR}:
                return Value.HOST
        elif isinstance(operator, ast.In | ast.NotIn):
            device = sides[0] if values[0] not in HOST else sides[1]
            raise Waits(f"`in` has to look at {quoted(device)}: compare with ==")
        elif set(values) <= {Value.TENSOR, *HOST}:
            return Value.TENSOR
        elif set(values) <= {Value.NUMBER, *HOST}:
            return Value.FLAG
        elif set(values) == {Value.NUMBER, Value.TENSOR}:
            raise Waits(beside(sides[values.index(Value.NUMBER)]))
        raise Waits(unknown(node))

    def _either(self, node: ast.expr, parts: list[ast.expr], is_truth: bool = False) -> Value:
        """One of them, whichever it will be."""
        values = {self.value(part) for part in parts}
        if values <= {*HOST}:
            return Value.PLAIN if values == {Value.PLAIN} else Value.HOST
        if len(values) == 1 and not is_truth:
            return values.pop()
        raise Waits(f"{quoted(node)} is computed with, and needs the number")

    def _attribute(self, node: ast.Attribute) -> Value:
        if is_torch(node.value):
            if node.attr not in CONSTANTS:
                raise Waits(unknown(node))
            return RESULTS[CONSTANTS[node.attr]]
        if (library := self.library(node.value)) is not None:
            return Value.PLAIN if library == "math" and node.attr in NUMBERS_OF_MATH else Value.HOST
        if is_limits(node.value) and node.attr in _LIMITS:
            self.value(node.value)
            return Value.PLAIN
        of = self.value(node.value)
        if of in HOST:
            return Value.HOST
        if of is Value.TENSOR and node.attr in ATTRIBUTES:
            return RESULTS[ATTRIBUTES[node.attr]]
        if of is Value.SEVERAL and node.attr in PARTS:
            return Value.TENSOR
        raise Waits(unknown(node))

    # --- what must be known on the host

    def listed(self, node: ast.expr) -> Value:
        """Also of a list of tensors, of which it is unknown what is done with it."""
        if isinstance(node, ast.List | ast.Tuple):
            values = {self.value(element) for element in node.elts}
            return Value.HOST if values <= {*HOST} else Value.SEVERAL
        return self.value(node)

    def all_host(self, node: ast.expr, parts: list[ast.expr], why: str = "") -> Value:
        for part in parts:
            self._host_only(part, why or unknown(node))
        return Value.HOST

    def _host_only(self, node: ast.expr, why: str) -> None:
        if self.value(node) not in HOST:
            raise Waits(why)

    # --- what an expression binds itself

    @contextmanager
    def _loops(self, generators: list[ast.comprehension]) -> Iterator[None]:
        before = self.bound
        for loop in generators:
            over = f"going through {quoted(loop.iter)} has to read it"
            values = self.listed(loop.iter)
            if values not in HOST:
                raise Waits(over)
            number = Value.PLAIN if self._is_of_numbers(loop.iter) else Value.HOST
            targets = [child.id for child in ast.walk(loop.target) if isinstance(child, ast.Name)]
            if {"any", "all"} & {*targets}:
                raise Waits(unknown(loop.target))
            kind = number if isinstance(loop.target, ast.Name) else Value.HOST
            self.bound = {**self.bound, **dict.fromkeys(targets, kind)}
            for test in loop.ifs:
                if self.is_on_device(test):
                    raise Waits(f"`if {short(test)}` has to know it at once")
        yield
        self.bound = before

    def _is_of_numbers(self, node: ast.expr) -> bool:
        if isinstance(node, ast.List | ast.Tuple):
            return all(self.value(element) is Value.PLAIN for element in node.elts)
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "range"
            and not self._is_bound(node)
        )

    @contextmanager
    def _binding(self, names: dict[str, Value]) -> Iterator[None]:
        before, self.bound = self.bound, self.bound | names
        yield
        self.bound = before

    def _is_bound(self, call: ast.expr) -> bool:
        return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in self.bound

    def library(self, node: ast.expr) -> str | None:
        """The name of a library of Python's that stands there."""
        is_free = isinstance(node, ast.Name) and node.id in LIBRARIES and node.id not in self.bound
        return node.id if is_free and isinstance(node, ast.Name) else None
