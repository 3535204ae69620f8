"""Parts of a condition, as they are looked at to see where they are computed, and how they are called in messages."""

from __future__ import annotations

import ast
import copy
from enum import Enum, auto

from dap_server.conditions.deferred.calls import Result
from dap_server.conditions.deferred.reserved import PLACE

_LONGEST = 40
"""Characters that are shown of a part."""


class Value(Enum):
    """What a part of a condition is."""

    HOST = auto()
    """Known on the host."""
    PLAIN = auto()
    """A number that is known on the host."""
    NUMBER = auto()
    """A number for people, on the device as a tensor () in float64."""
    FLAG = auto()
    """Whether something is true of such numbers, as a tensor () of booleans."""
    TENSOR = auto()
    SEVERAL = auto()
    """A tuple of tensors."""


HOST = (Value.HOST, Value.PLAIN)
RESULTS: dict[Result, Value] = {
    "tensor": Value.TENSOR,
    "several": Value.SEVERAL,
    "host": Value.HOST,
    "number": Value.PLAIN,
}


class Waits(Exception):
    """The host would wait for the device, or nobody knows that it does not; the text says why."""


def looked_up(node: ast.expr) -> str | None:
    """The name of the place that a part of a condition's tree is, if it is one."""
    match node:
        case ast.Subscript(value=ast.Name(id=id), slice=ast.Constant(value=str(name))) if id == PLACE:
            return name
    return None


def counted(node: ast.expr) -> ast.expr | None:
    """What `any` or `all` goes through one by one, if a part is a call of one that is written out."""
    match node:
        case ast.Call(func=ast.Name(id="any" | "all"), args=[parts], keywords=[]):
            written = (ast.GeneratorExp, ast.ListComp, ast.List, ast.Tuple)
            is_whole = not any(isinstance(one, ast.Starred) for one in getattr(parts, "elts", ()))
            return parts if isinstance(parts, written) and is_whole else None
    return None


def arguments_of(node: ast.Call) -> list[ast.expr]:
    return [*node.args, *(keyword.value for keyword in node.keywords)]


def is_torch(node: ast.expr) -> bool:
    return looked_up(node) == "torch"


def is_torch_module(node: ast.expr) -> bool:
    """`torch.linalg`, `torch.nn.functional` and such."""
    return isinstance(node, ast.Attribute) and (is_torch(node.value) or is_torch_module(node.value))


def is_limits(node: ast.expr) -> bool:
    """`torch.finfo(…)`."""
    match node:
        case ast.Call(func=ast.Attribute(value=of, attr="finfo" | "iinfo")):
            return is_torch(of)
    return False


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def is_other_than_zero(node: ast.expr) -> bool:
    """A number that is written down."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and node.value != 0


class _Names(ast.NodeTransformer):
    """Makes the look into the place the name again that somebody typed."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if (name := looked_up(node)) is not None:
            return ast.Name(name, ast.Load())
        self.generic_visit(node)
        return node


def short(node: ast.expr) -> str:
    """As it was typed, or nearly so."""
    text = ast.unparse(_Names().visit(copy.deepcopy(node)))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def quoted(node: ast.expr) -> str:
    return f"`{short(node)}`"


def unknown(node: ast.expr) -> str:
    return f"{quoted(node)} is not known to run on the device alone"


def beside(node: ast.expr) -> str:
    """Of a number that meets a tensor."""
    return f"{quoted(node)} is a number beside a tensor, which has to be read: write a tensor in its place"
