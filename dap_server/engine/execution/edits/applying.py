"""Forwards with edits: what modules are given and return is replaced as it passes, for the live run and replays alike.

The hooks stand before all others, so that whoever looks at a module sees what the model goes on with. They are there in
steps with an edit of a module's value only.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from transformers.utils import ModelOutput

from dap_server.engine.anatomy.modules import Anatomy, forward_of
from dap_server.engine.execution.activations import call_frame, is_live
from dap_server.engine.execution.edits.attention import AttentionEdits
from dap_server.engine.execution.edits.changes import Moment
from dap_server.engine.execution.edits.edit import AttentionValue, Edit, Expert, ModuleValue
from dap_server.engine.execution.edits.experts import ExpertEdits
from dap_server.engine.execution.edits.outcomes import Outcomes, unseen
from dap_server.engine.execution.edits.selection import StepPositions
from dap_server.engine.execution.probes import asides
from dap_server.modelmap.patterns import Pattern

TEXTS = ("decoder_input_ids", "input_ids", "decoder_inputs_embeds", "inputs_embeds")
"""Arguments (B, T, …) that tell which part of the text a forward works on."""


Active = Callable[[], tuple[int, Sequence[Edit]]]
"""Gives the step that runs, and its edits."""


class ModuleEdits:
    """Of the values of modules, in the forwards of one call of `generate` or of a model."""

    def __init__(self, anatomy: Anatomy) -> None:
        self._anatomy = anatomy
        self._named: dict[str, frozenset[str]] = {}

    @contextmanager
    def applied(
        self,
        active: Active,
        outcomes: Outcomes,
        end: int | None = None,
        called: Callable[[], None] = lambda: None,
    ) -> Iterator[None]:
        """While this is open, every forward on this thread, replays inside of it excepted, is one with edits.

        Args:
            active: gives the step, and its edits.
            end: how long the text is in this step; None where the cache has to tell.
            called: is told when the whole model is called, before anybody else.
        """
        passing = _Passing(self._anatomy, self._paths, active, outcomes, end, called)
        begins: Any = passing.begins  # torch takes the arguments that it returns, which its types do not say
        before = register_module_forward_pre_hook(begins)
        after = register_module_forward_hook(passing.ends)
        torch_modules._global_forward_pre_hooks.move_to_end(before.id, last=False)  # type: ignore[attr-defined]
        torch_modules._global_forward_hooks.move_to_end(after.id, last=False)  # type: ignore[attr-defined]
        try:
            yield
        finally:
            before.remove()
            after.remove()
            passing.close()

    def _paths(self, name: str) -> frozenset[str]:
        """Of the modules that a path, a glob or a class names."""
        if name not in self._named:
            pattern, modules = Pattern(name, None), self._anatomy.modules
            paths = [path for path in modules if path == name or (path and name and pattern.matches_path(path))]
            named = paths or [path for path, m in modules.items() if name and pattern.matches_class(type(m).__name__)]
            self._named[name] = frozenset(named)
        return self._named[name]


class _Call(NamedTuple):
    """A running module call; `is_look`: within a call of the whole model within another."""

    frame: FrameType
    is_look: bool


class _Passing:
    """The hooks of some forwards.

    A call of the whole model within another is somebody's look at what the model would say of something else: nothing
    is met there, and it goes by the edits that are about all elements of a value, whatever their positions.
    """

    def __init__(
        self,
        anatomy: Anatomy,
        paths: Callable[[str], frozenset[str]],
        active: Active,
        outcomes: Outcomes,
        end: int | None,
        called: Callable[[], None],
    ) -> None:
        self._anatomy, self._paths, self._active, self._outcomes, self._end = anatomy, paths, active, outcomes, end
        self._called = called
        self._thread, self._asides = threading.get_ident(), asides()
        self._calls: list[_Call] = []
        self._positions: StepPositions | None = None
        self._attention = AttentionEdits(anatomy, outcomes)
        self._experts = ExpertEdits(anatomy, outcomes, paths)

    def begins(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        path = self._path(module)
        if path is None:
            return None
        call = call_frame(sys._getframe(1))
        self._enter(path, call)
        kwargs = call.f_locals["kwargs"]
        if not self._is_look:
            if path == "":
                self._called()
            self._find_positions(args, kwargs)
            if attention := self._meant(AttentionValue, path):
                self._attention.begins(path, self._active()[0], attention, len(self._calls))
        step, edits = self._of(path, "input")
        new = args
        for edit in edits:
            new = self._given(edit, step, path, module, new, kwargs)
        if experts := self._of_experts():
            new = self._experts.given(path, step, experts, new, kwargs)
        return None if new is args else new

    def ends(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        path = self._path(module)
        if path is None:
            return None
        call = call_frame(sys._getframe(1))
        while self._calls[-1].frame is not call:  # ended by an exception
            self._calls.pop()
        step, edits = self._of(path, "output")
        experts = self._of_experts()
        if experts:
            output = self._experts.returned(path, step, experts, output)
        given = [*args, *call.f_locals["kwargs"].values()] if edits else []
        for edit in edits:
            change = functools.partial(self._changed, edit, step, path, given)
            output = _with_part(output, _part(edit), change, functools.partial(self._misses, edit))
        self._attention.ends(len(self._calls))
        self._calls.pop()
        return output if edits or experts else None

    def _enter(self, path: str, call: FrameType) -> None:
        """Calls that an exception has ended are forgotten."""
        while self._calls and not is_live(self._calls[-1].frame, call):
            self._calls.pop()
        self._calls.append(_Call(call, self._is_look or (path == "" and bool(self._calls))))

    @property
    def _is_look(self) -> bool:
        return bool(self._calls) and self._calls[-1].is_look

    @property
    def _depth(self) -> int:
        return len(self._calls)

    def _path(self, module: nn.Module) -> str | None:
        if threading.get_ident() != self._thread or asides() != self._asides:
            return None
        return self._anatomy.path_of(module)

    def close(self) -> None:
        self._attention.close()

    def _of(self, path: str, value: str) -> tuple[int, list[Edit]]:
        edits = self._meant(ModuleValue, path)
        return self._active()[0], [e for e in edits if isinstance(e.target, ModuleValue) and e.target.value == value]

    def _meant(self, kind: type[AttentionValue | ModuleValue], path: str) -> list[Edit]:
        """Edits of a kind that name a module."""
        return [
            edit
            for edit in self._active()[1]
            if isinstance(edit.target, kind)
            and path in self._paths(edit.target.path)
            and (not self._is_look or _is_whole(edit))
        ]

    def _of_experts(self) -> list[Edit]:
        return [] if self._is_look else [e for e in self._active()[1] if isinstance(e.target, Expert)]

    def _find_positions(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        text = next((v for name in TEXTS if isinstance(v := kwargs.get(name), Tensor)), None)
        if text is None and self._depth == 1 and args and isinstance(args[0], Tensor):
            text = args[0]
        if text is None or text.dim() < 2:
            return
        count, before = text.shape[1], self._positions
        if self._end is None:
            cache: Any = kwargs.get("past_key_values")
            first = cache.get_seq_length() if hasattr(cache, "get_seq_length") else 0
        elif self._depth == 1 and before is not None:  # a prompt that comes in pieces
            first = before.end if before.end < self._end else self._end - count
        elif self._depth == 1:
            first = 0 if self._active()[0] == 0 else self._end - count
        else:
            return
        self._positions = StepPositions(text.shape[0], int(first), count)

    def _given(
        self, edit: Edit, step: int, path: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...]:
        """The positional arguments to go on with; the others are replaced where they are."""
        part = _part(edit)
        forward: Any = forward_of(type(module))
        names = [*inspect.signature(forward).parameters][1:]
        if part is None:
            tensors = [i for i, value in enumerate(args) if isinstance(value, Tensor)]
            named = [name for name, v in kwargs.items() if isinstance(v, Tensor) and v.is_floating_point()]
            part = tensors[0] if tensors else next(iter(named), None)
        elif isinstance(part, str) and part in names[: len(args)]:
            part = names.index(part)
        change = functools.partial(self._changed, edit, step, path, ())
        if isinstance(part, int) and part < len(args) and isinstance(args[part], Tensor):
            return (*args[:part], change(args[part]), *args[part + 1 :])
        if isinstance(part, str) and isinstance(kwargs.get(part), Tensor):
            kwargs[part] = change(kwargs[part])
        else:
            self._misses(edit, f"'{self._anatomy.name_of(path)}' is not given {part or 'a tensor'} in this call")
        return args

    def _changed(self, edit: Edit, step: int, path: str, given: Sequence[Any], value: Tensor) -> Tensor:
        target = edit.target
        assert isinstance(target, ModuleValue)
        positions = self._positions or StepPositions(value.shape[0] if value.dim() else 0, 0, 0)

        def change() -> Tensor | None:
            index = target.selection.of(value.shape, positions)
            if index is None:
                return None
            alike = (v for v in given if isinstance(v, Tensor) and v.shape == value.shape and v.dtype == value.dtype)
            return edit.change.applied(value, index, Moment(step, path, next(alike, None)))

        with unseen():
            return (Outcomes() if self._is_look else self._outcomes).apply(edit, step, change, value)

    def _misses(self, edit: Edit, text: str) -> None:
        if not self._is_look:
            self._outcomes.problems[edit.id] = text


def _is_whole(edit: Edit) -> bool:
    return isinstance(edit.target, ModuleValue) and edit.target.selection.is_whole


def _part(edit: Edit) -> str | int | None:
    return edit.target.part if isinstance(edit.target, ModuleValue) else None


def _with_part(
    value: Any, part: str | int | None, change: Callable[[Tensor], Tensor], misses: Callable[[str], None]
) -> Any:
    """A value of which one tensor is changed: itself, or an item of a container, which is made again."""
    if isinstance(value, Tensor) and part in (None, 0, "0"):
        return change(value)
    items = list(value.items() if isinstance(value, dict) else enumerate(value) if _is_list(value) else ())
    keys = [key for i, (key, item) in enumerate(items) if isinstance(item, Tensor) and part in (None, key, i, str(i))]
    if not keys:
        misses(f"there is no tensor {'' if part is None else f'{part!r} '}in what is returned")
        return value
    changed = [(key, change(item) if key == keys[0] else item) for key, item in items]
    if isinstance(value, ModelOutput):
        return type(value)(**dict(changed))
    if isinstance(value, dict):
        return type(value)(changed)
    return type(value)(item for _, item in changed)


def _is_list(value: Any) -> bool:
    return type(value) in (list, tuple)
