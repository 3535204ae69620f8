"""Loading a model and its tokenizer, with progress, and errors that say what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dap_server.engine.anatomy.tasks import Task, UnknownTask, task_of
from dap_server.protocol.errors import RequestError, did_you_mean
from dap_server.protocol.launch import LaunchArguments

Progress = Callable[[str, float], None]
"""Called with what is being done and the percentage reached."""


class LoadError(RequestError):
    """The model cannot be loaded; the text says why and what to do."""

    id = 20


@dataclass
class Loaded:
    """A model ready to run, its tokenizer (None when it has none), and its task (None when nobody knows)."""

    model: Any
    tokenizer: Any
    task: Task | None = Task.CAUSAL


def load(launch: LaunchArguments, progress: Progress) -> Loaded:
    """Loads what a launch configuration names.

    Raises:
        LoadError: with the option to change or the file to look at.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    _check_device(launch, torch)
    with explained(launch):
        progress("reading the configuration", 40)
        config, task = configuration_of(launch)
        tokenizer = _tokenizer(launch, _common(launch), task)
        progress("loading the weights", 50)
        with _weights_progress(progress):
            model = task.auto_class.from_pretrained(
                launch.model, config=config, **_common(launch), **_placement(launch)
            )
    if launch.device:
        model = model.to(launch.device)
    progress("the weights are loaded", 92)
    return Loaded(model.eval(), tokenizer, task)


def configuration_of(launch: LaunchArguments) -> tuple[Any, Task]:
    """The configuration of the model that is named, and what it was made for. Nothing else of it is read.

    Raises:
        Exception: whatever is wrong with it; `explained` says what to do.
    """
    import transformers

    _check_folder(str(launch.model))
    config = transformers.AutoConfig.from_pretrained(launch.model, **_common(launch))
    return config, task_of(config)


@contextmanager
def explained(launch: LaunchArguments) -> Iterator[None]:
    """Whatever goes wrong inside becomes a LoadError that says what to do."""
    try:
        yield
    except LoadError:
        raise
    except UnknownTask as error:
        raise LoadError(f"'{launch.model}' cannot be loaded: {error}") from error
    except Exception as error:
        raise LoadError(_explain(error, launch)) from error


def _common(launch: LaunchArguments) -> dict[str, Any]:
    return {"revision": launch.revision or "main", "trust_remote_code": launch.trust_remote_code}


def _check_folder(model: str) -> None:
    """A name that can only be a folder, and is none, is not asked for on the hub."""
    if os.path.isdir(model):
        if not os.path.isfile(os.path.join(model, "config.json")):
            raise LoadError(f"'{model}' is a folder without config.json: it holds no model in transformers' format")
        return
    if (
        os.path.isabs(model)
        or model.startswith((".", "~"))
        or model.count("/") > 1
        or (os.sep != "/" and os.sep in model)
    ):
        parent = os.path.dirname(os.path.abspath(os.path.expanduser(model)))
        names = os.listdir(parent) if os.path.isdir(parent) else []
        hint = did_you_mean(os.path.basename(model), names)
        raise LoadError(f"the model folder '{model}' does not exist (looked from {os.getcwd()}){hint}")


def _check_device(launch: LaunchArguments, torch: Any) -> None:
    if not launch.device:
        return
    try:
        torch.empty(0, device=launch.device)
    except Exception as error:
        first_line = str(error).splitlines()[0]
        raise LoadError(f"device '{launch.device}' cannot be used here: {first_line}") from error


def _tokenizer(launch: LaunchArguments, common: dict[str, Any], task: Task) -> Any:
    """What goes on where the prompt ends has to be padded on its left; an encoder's positions count from the left."""
    import transformers

    side = {"padding_side": "left"} if task is Task.CAUSAL else {}
    return transformers.AutoTokenizer.from_pretrained(launch.model, **side, **common)


def _placement(launch: LaunchArguments) -> dict[str, Any]:
    options: dict[str, Any] = {"dtype": launch.dtype}
    if launch.attn_implementation:
        options["attn_implementation"] = launch.attn_implementation
    if launch.device_map:
        options["device_map"] = launch.device_map
    return options


class _weights_progress:
    """Turns transformers' own progress bar over the weights into ours."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._previous = logging.set_tqdm_hook(self._bar)

    def __exit__(self, *_: object) -> None:
        from transformers.utils import logging

        logging.set_tqdm_hook(self._previous)

    def _bar(self, factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        items = args[0] if args else kwargs.get("iterable")
        if items is None or not hasattr(items, "__len__"):
            return factory(*args, **kwargs)
        return _Counted(items, self._progress)


class _Counted:
    """An iteration that reports how far it is, in twentieths."""

    def __init__(self, items: Iterable[Any], progress: Progress) -> None:
        self._items, self._progress = items, progress

    def __iter__(self) -> Iterator[Any]:
        total, last = len(self._items), 0  # type: ignore[arg-type]  # checked by the caller
        for done, item in enumerate(self._items):
            if (twentieths := 20 * done // total) != last:
                last = twentieths
                self._progress("loading the weights", 50 + 2 * twentieths)
            yield item

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_args, **_kwargs: None  # set_postfix and kin: only for people who watch a terminal


def _explain(error: Exception, launch: LaunchArguments) -> str:
    """One paragraph for a person: what failed, in which file or option, and what to try."""
    text = " ".join(str(error).split())
    name = f"'{launch.model}'"
    kind = type(error).__name__
    if isinstance(error, json.JSONDecodeError) or "is not a valid JSON file" in text:
        return f"{name}: a JSON file of the model is broken: {text}"
    if "safetensor" in kind.lower() or ("safetensor" in text.lower() and "header" in text.lower()):
        return f"{name}: a weights file is corrupt or incomplete: {text}. Copy or download it again."
    if "trust_remote_code" in text:
        return f'{name} comes with Python code of its own. If you trust it, set "trustRemoteCode": true. ({text})'
    if "accelerate" in text.lower() and launch.device_map:
        return f"'deviceMap' needs the package accelerate: pip install accelerate. ({text})"
    if isinstance(error, OSError):
        return (
            f"{name} cannot be loaded: {text} Is it the path of a folder (from {os.getcwd()}) or the id of a model "
            "on the hub that this machine can reach?"
        )
    return f"{name} cannot be loaded: {kind}: {text}"
