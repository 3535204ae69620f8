"""Which logits processors `generate` can make, in its order, and which option asks for each: read from its source."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

from transformers import GenerationMixin
from transformers.generation import configuration_utils, logits_process

_METHOD = "_get_logits_processor"
_CONFIG = "generation_config"
_SAMPLING = "do_sample"


class Processor(NamedTuple):
    """A class of logits processors, and the option of `generate` that asks for it."""

    name: str
    option: str
    when_sampling: bool
    """Whether it is made only when tokens are drawn."""

    @property
    def note(self) -> str:
        return f"with {self.option}, when sampling" if self.when_sampling else f"with {self.option}"


def processors_of(kind: type[Any]) -> list[Processor]:
    """Those of a class of models; empty where the source is not there to be read."""
    owners = [owner for owner in reversed(kind.__mro__) if _METHOD in vars(owner)] or [GenerationMixin]
    found = {processor.name: processor for owner in owners for processor in _written_in(vars(owner)[_METHOD])}
    return list(found.values())


def is_logits_processor(name: str) -> bool:
    """Whether a name is a class that takes part in choosing a token: known before `generate` makes its list."""
    kind = getattr(logits_process, name, None)
    return isinstance(kind, type) and issubclass(kind, logits_process.LogitsProcessor)


@functools.cache
def _written_in(function: Any) -> tuple[Processor, ...]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return ()
    return tuple(_appended(tree, ()))


def _appended(node: ast.AST, options: tuple[str, ...]) -> Iterator[Processor]:
    """What is appended to the list, under the options that the `if`s around it ask for."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
        asked = [option for option in options if option != _SAMPLING]
        if asked:
            yield from (Processor(name, asked[-1], _SAMPLING in options) for name in _made(node.args[0]))
    if isinstance(node, ast.If):
        inner = (*options, *_options(node.test))
        for then in node.body:
            yield from _appended(then, inner)
        for otherwise in node.orelse:
            yield from _appended(otherwise, options)
        return
    for child in ast.iter_child_nodes(node):
        yield from _appended(child, options)


def _options(test: ast.expr) -> list[str]:
    """The option that a condition asks for: what it compares first, or an argument of its own."""
    for node in ast.walk(test):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == _CONFIG:
            return [node.attr]
    names = [node.id for node in ast.walk(test) if isinstance(node, ast.Name)]
    return [name for name in names if name.endswith("_fn")][:1]


def _made(value: ast.expr) -> list[str]:
    """The classes that an expression makes: by their name, or by a method of an option's own class."""
    if not isinstance(value, ast.Call):
        return []
    if isinstance(value.func, ast.Name):
        return [value.func.id]
    if not isinstance(value.func, ast.Attribute):
        return []
    methods = [vars(kind).get(value.func.attr) for kind in vars(configuration_utils).values() if inspect.isclass(kind)]
    trees = [ast.parse(textwrap.dedent(inspect.getsource(method))) for method in methods if inspect.isfunction(method)]
    returns = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Return)]
    made = [call.func.id for call in returns if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)]
    return list(dict.fromkeys(made))
