"""A map of every type that transformers' auto classes build, held against a real forward of a tiny instance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from torch import nn

from dap_server.engine.anatomy.mapping import RARE, map_of
from dap_server.engine.anatomy.tasks import Task as Kind
from dap_server.modelmap.text import ModelMap, read_map, write_map
from tests.engine.anatomy.test_mapping import calls_heard
from tests.models.tiny import NOT_BUILT, TASKS, Task, model_types, tiny_inputs, tiny_model

Report = Callable[[str, list[str]], None]

_EXPERTS = "its loop over experts asks which of them are chosen"
_NUMBER = "asks for a number that only the values of the text give"
_END = "looks for the end of the text to read its answer there"

UNTRACED: dict[str, tuple[str, set[str]]] = {
    "blt": ("finds the ends of its patches in the values of the text", {"causal"}),
    "dbrx": (_EXPERTS, {"causal"}),
    "longcat_flash": (_EXPERTS, {"causal"}),
    "jetmoe": (_EXPERTS, {"causal", "classification"}),
    "nllb-moe": (_EXPERTS, {"seq2seq"}),
    "switch_transformers": (_EXPERTS, {"seq2seq"}),
    "qwen4_exp": ("finds what its indexer lets see by the values", {"causal"}),
    "qwen4_exp_text": ("finds what its indexer lets see by the values", {"causal"}),
    "reformer": (_NUMBER, {"causal", "masked", "classification"}),
    "xlm": (_NUMBER, {"causal", "masked", "classification"}),
    "flaubert": (_NUMBER, {"masked", "classification"}),
    "xmod": ("finds the positions of each language by their values", {"causal", "masked", "classification"}),
    **{name: (_END, {"classification"})
       for name in ("bart", "bigbird_pegasus", "mbart", "mt5", "mvp", "plbart", "umt5")},
    "t5": ("its configuration does not say with which token a decoder begins", {"classification"}),
}  # fmt: skip
"""Whose lines stand as the source is written, why, and for which tasks."""

SWAPPED = "exchanges the attention of its layers for another when the text is short, while it runs"
SWAPS = {"big_bird", "bigbird_pegasus"}


def differences(name: str, task: Task, model_map: ModelMap, model: Any) -> list[str]:
    """Between a map and a real forward."""
    modules = {line.path: line for line in model_map.lines if line.kind != "selection"}
    parts = [] if modules.keys() == dict(model.named_modules()).keys() else ["not every module has its line"]
    if model_map.parameters != sum(parameter.numel() for parameter in model.parameters()):
        parts.append("parameters")
    with torch.no_grad(), calls_heard(model) as heard:
        model(**tiny_inputs(model, task))
    called = {path for path, line in modules.items() if line.kind == "module" and line.note != RARE}
    stoppable = {path for path, line in modules.items() if line.can_stop}
    if name not in SWAPS:
        parts += [f"{path} is not called" for path in sorted(called - set(heard))[:3]]
    parts += [f"{path} is called" for path in sorted(set(heard) - stoppable)[:3]]
    return parts + out_of_order(list(modules), heard)


def out_of_order(lines: list[str], heard: list[str]) -> list[str]:
    """Siblings that do not stand in the order of the first call of themselves or of anything inside."""
    first: dict[str, int] = {}
    for number, path in enumerate(heard):
        first.setdefault(path, number)
        while path:
            path = path.rpartition(".")[0]
            first.setdefault(path, number)
    siblings: dict[str, list[str]] = {}
    for path in lines:
        if path in first and path:
            siblings.setdefault(path.rpartition(".")[0], []).append(path)
    return [f"the order of what lies in '{parent}'" for parent, paths in siblings.items()
            if [first[path] for path in paths] != sorted(first[path] for path in paths)]  # fmt: skip


def built(name: str, task: Task) -> nn.Module | None:
    with suppress(Exception):  # what cannot be built is another test's
        model: nn.Module = tiny_model(name, task)
        return model
    return None


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize("task", TASKS)
def test_the_map_of_every_type_is_what_a_real_forward_does(task: Task, report: Report) -> None:
    wrong: list[str] = []
    untraced: dict[str, str] = {}
    count = 0
    for name in model_types(task):
        if name in NOT_BUILT[task] or (model := built(name, task)) is None:
            continue
        count += 1
        model_map = map_of(model, name, Kind[task.upper()])
        if read_map(write_map(model_map)).problems:
            wrong.append(f"{name}: cannot be read back")
        if model_map.order:
            untraced[name] = model_map.order
        else:
            wrong += [f"{name}: {difference}" for difference in differences(name, task, model_map, model)]
    expected = {name: why for name, (why, tasks) in UNTRACED.items() if task in tasks}
    report(f"maps, {task}: {count} types, {count - len(untraced)} traced",
           [f"{name}: {expected.get(name, text)}" for name, text in untraced.items()])  # fmt: skip
    assert not wrong, "\n".join(wrong)
    assert untraced.keys() == expected.keys()
