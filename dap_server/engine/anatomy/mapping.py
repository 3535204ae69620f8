"""The map of a model: of one that is loaded, or of a configuration alone, without weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch import nn

from dap_server.engine.anatomy.loading import configuration_of, explained
from dap_server.engine.anatomy.meta import build_on_meta, copy_on_meta, undisturbed
from dap_server.engine.anatomy.processors import processors_of
from dap_server.engine.anatomy.regions import called_in_source
from dap_server.engine.anatomy.tasks import Task, UnknownTask, task_of
from dap_server.engine.anatomy.tracing import TEXTS, Trace, trace
from dap_server.modelmap.model_map import LISTS, UNUSED, MapLine, ModelMap
from dap_server.modelmap.places import LOGITS, SAMPLE, STEP
from dap_server.modelmap.writing import rounded_flops
from dap_server.protocol.launch import LaunchArguments

RARE = "called for some texts, if at all"


def map_model(name: str, revision: str | None = None, trust_remote_code: bool = False) -> ModelMap:
    """The map of a folder or of an id of the hub, of which nothing but the configuration is read.

    Raises:
        LoadError: there is no such model, or it is none that can be debugged; the text says what to do.
    """
    asked = LaunchArguments(model=name, revision=revision, trust_remote_code=trust_remote_code)
    with undisturbed(), explained(asked):
        config, task = configuration_of(asked)
        return map_of_config(config, name, task, trust_remote_code)


def map_of_config(config: Any, name: str = "", task: Task | None = None, trust_remote_code: bool = False) -> ModelMap:
    """The map of a configuration.

    Raises:
        UnknownTask: it is of no model that can be debugged.
    """
    task = task or task_of(config)
    with undisturbed():
        model = build_on_meta(config, task, trust_remote_code)
        return _mapped(model, name, task, config.dtype or torch.float32)


def map_of(model: nn.Module, name: str = "", task: Task | None = None) -> ModelMap:
    """The map of a model that is there, whatever made it. It is left as it is: only a copy without weights runs."""
    first = next(model.parameters(), None)
    with undisturbed():
        return _mapped(model, name, task or _task(model), None if first is None else first.dtype)


def _copied(model: nn.Module) -> nn.Module | Exception:
    try:
        return copy_on_meta(model)
    except Exception as error:
        return error


def _task(model: nn.Module) -> Task | None:
    config = getattr(model, "config", None)
    if not isinstance(config, transformers.PretrainedConfig):
        return None
    try:
        return task_of(config)
    except UnknownTask:
        return None


def _mapped(model: nn.Module, name: str, task: Task | None, dtype: torch.dtype | None) -> ModelMap:
    copied = _copied(model)
    traced: Trace | Exception = copied if isinstance(copied, Exception) else _traced(copied, task)
    places = _Places(model, copied if isinstance(copied, nn.Module) else model, traced)
    lines = list(places.lines())
    if task is not None and task.generates:
        lines = [*_before_selection(), *lines, *_selection(type(model))]
    return ModelMap(
        model=name,
        class_name=type(model).__name__,
        task=task.name.lower() if task else "",
        dtype=str(dtype).removeprefix("torch.") if dtype else "",
        parameters=_count(model),
        transformers=transformers.__version__ if isinstance(model, transformers.PreTrainedModel) else "",
        counted="" if isinstance(traced, Exception) else f"per token of a text of {TEXTS[0].length} tokens",
        order=_why_not_traced(traced) if isinstance(traced, Exception) else "",
        lines=lines,
        classes=places.classes,
    )


def _traced(model: nn.Module, task: Task | None) -> Trace | Exception:
    config: Any = getattr(model, "config", None)
    if task is Task.CLASSIFICATION and getattr(config, "pad_token_id", 0) is None:
        config.pad_token_id = 0  # without one a classifier takes no batch
    try:
        return trace(model, task is Task.SEQ2SEQ)
    except Exception as error:
        return error


def _why_not_traced(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"as the source is written; a forward on the meta device ended with {type(error).__name__}: {text[:200]}"


def _before_selection() -> list[MapLine]:
    return [MapLine(STEP, "selection", note="one forward pass, which makes one token")]


def _selection(kind: type[Any]) -> list[MapLine]:
    processors = [MapLine(one.name, "selection", note=one.note) for one in processors_of(kind)]
    first = MapLine(LOGITS, "selection", note="(B, V), the scores of the next token")
    return [first, *processors, MapLine(SAMPLE, "selection", note="the choice of the next token")]


@dataclass
class _Places:
    """Writes one line for every module.

    Attributes:
        model: whose classes and parameters are told.
        copied: the one that was traced, whose parameters are known by their ids.
        classes: where the classes of the lines are written.
    """

    model: nn.Module
    copied: nn.Module
    traced: Trace | Exception
    classes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._modules = dict(self.model.named_modules())
        self._copies = dict(self.copied.named_modules())
        self._first = self._first_calls()
        self._owners: dict[int, str] = {}

    def lines(self) -> Iterator[MapLine]:
        yield from self._below("", self.model)

    def _first_calls(self) -> dict[str, int]:
        """When each module, or anything inside it, is called first."""
        first: dict[str, int] = {}
        if isinstance(self.traced, Exception):
            return first
        for number, path in enumerate([*self.traced.inputs, *self.traced.rare]):
            first.setdefault(path, number)
            while path:
                path = path.rpartition(".")[0]
                first.setdefault(path, number)
        return first

    def _below(self, path: str, module: nn.Module) -> Iterator[MapLine]:
        yield self._line(path, module)
        prefix = f"{path}." if path else ""
        children = [(prefix + name, child) for name, child in module.named_children()]
        for child_path, child in sorted(children, key=self._order(module, len(prefix))):
            if child_path in self._modules:  # a module with two paths has its line at the first
                yield from self._below(child_path, child)

    def _order(self, module: nn.Module, prefix: int) -> Any:
        if isinstance(self.traced, Exception):
            written = called_in_source(type(module))
            return lambda item: written.get(item[0][prefix:], len(written))
        return lambda item: self._first.get(item[0], len(self._first))

    def _line(self, path: str, module: nn.Module) -> MapLine:
        kind = type(module)
        self.classes.setdefault(kind.__name__, kind.__module__)
        parameters = _count(module) or None
        shared = self._shared(path, module)
        if isinstance(self.traced, Exception):
            if not _has_forward(module):
                note = _list_note(module)
                return MapLine(
                    path,
                    "list" if note else "unused",
                    kind.__name__,
                    parameters=parameters,
                    note=note or f"{UNUSED}: it has no forward",
                )
            return MapLine(path, "module", kind.__name__, parameters=parameters, note=shared)
        if path in self.traced.rare and _has_forward(module):
            return MapLine(path, "module", kind.__name__, parameters=parameters, note=RARE)
        if path not in self.traced.inputs:
            return self._not_called(path, module, parameters)
        flops = self.traced.flops.get(path)
        return MapLine(
            path,
            "module",
            kind.__name__,
            self.traced.inputs[path],
            self.traced.outputs[path],
            parameters,
            rounded_flops(flops) if flops else None,
            shared or self._times(path),
        )

    def _not_called(self, path: str, module: nn.Module, parameters: int | None) -> MapLine:
        name = type(module).__name__
        if not _has_forward(module) and (note := _list_note(module)):
            flops = self._flops_inside(path, module)
            return MapLine(path, "list", name, parameters=parameters, flops=flops, note=note)
        return MapLine(path, "unused", name, parameters=parameters, note=f"{UNUSED}{self._why_not(path, module)}")

    def _why_not(self, path: str, module: nn.Module) -> str:
        if not _has_forward(module):
            return ": it has no forward"
        assert isinstance(self.traced, Trace)
        if any(id(one) in self.traced.used for one in self._copies[path].parameters(recurse=False)):
            return ": its weights are used directly"
        if path in self._first:
            return " itself, only what lies inside it"
        return ": a forward over text does not come to it"

    def _flops_inside(self, path: str, module: nn.Module) -> int | None:
        assert isinstance(self.traced, Trace)
        members = [f"{path}.{name}" if path else name for name, _ in module.named_children()]
        total = sum(self.traced.flops.get(member, 0.0) for member in members)
        return rounded_flops(total) if total else None

    def _shared(self, path: str, module: nn.Module) -> str:
        """That a parameter of its own is another module's too, which has been told before."""
        for name, parameter in self._copies[path].named_parameters(recurse=False):
            owner = self._owners.setdefault(id(parameter), path)
            if owner != path:
                return f"its {name} is that of {owner or 'the whole model'}"
        return ""

    def _times(self, path: str) -> str:
        assert isinstance(self.traced, Trace)
        times = self.traced.times[path]
        return f"called {times} times" if times > 1 else ""


def _has_forward(module: nn.Module) -> bool:
    return getattr(type(module), "forward", None) is not nn.Module.forward or "forward" in vars(module)


def _list_note(module: nn.Module) -> str:
    """Of a container that is never called; empty for what is none."""
    begin = {nn.ModuleList: LISTS[0], nn.ModuleDict: LISTS[1], nn.ParameterList: LISTS[0], nn.ParameterDict: LISTS[1]}
    what = next((begin[kind] for kind in begin if isinstance(module, kind)), "")
    return f"{what}{len(module)}, not called itself" if what else ""  # type: ignore[arg-type]  # containers have a length


def _count(module: nn.Module) -> int:
    """Elements of all parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())
