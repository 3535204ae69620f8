"""What of a model can be watched, and in which places of its run it is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from torch import Tensor, nn
from transformers import GenerationConfig

from dap_server.conditions.data_ids import DataId, DataIdError, WatchKind, parse_data_id
from dap_server.engine.anatomy.modules import Anatomy, is_called
from dap_server.engine.anatomy.processors import is_logits_processor
from dap_server.engine.anatomy.tokens import UnknownToken, Vocabulary
from dap_server.engine.execution.watching import Watch
from dap_server.modelmap.patterns import WHOLE_MODEL
from dap_server.modelmap.places import SAMPLE, STEP, Phase
from dap_server.protocol.errors import did_you_mean

_CACHE = re.compile(r"(?:cross\.)?(\d+)\.(\w+)")
OPTIONS = frozenset(GenerationConfig().to_dict())


class CannotWatch(ValueError):
    """There is no such thing to watch; the text says why, and what there is."""


def watch_of(text: str, anatomy: Anatomy, vocabulary: Vocabulary) -> Watch:
    """What a data id means in this model. Raises CannotWatch."""
    try:
        data = parse_data_id(text)
    except DataIdError as error:
        raise CannotWatch(str(error)) from None
    kind = data.kind or _kind_of(data, anatomy)
    data = DataId(kind, data.name, data.indexes)
    match kind:
        case "parameter":
            return _parameter(data, anatomy)
        case "activation" | "input":
            return _passing(data, anatomy)
        case "cache":
            return _cache(data, anatomy)
        case "option":
            return _option(data)
    return _probability(data, anatomy, vocabulary)


def _kind_of(data: DataId, anatomy: Anatomy) -> WatchKind:
    """Of a name that does not say it itself."""
    name = data.name
    if holder_of(name, anatomy) is not None:
        return "parameter"
    if _path(name) in anatomy.modules:
        return "activation"
    if name[0] in "'\"" or name.isdigit():
        return "probability"
    if _CACHE.fullmatch(name):
        return "cache"
    if name in OPTIONS or _is_of_processor(name):
        return "option"
    known = [*_named_tensors(anatomy.model), *(path for path in anatomy.modules if path), *OPTIONS]
    raise CannotWatch(f"no parameter, buffer, module or option '{name}'{did_you_mean(name, known)}")


def holder_of(path: str, anatomy: Anatomy) -> tuple[str, str] | None:
    """The path of the module that holds a parameter or buffer, and its name there; None where there is none."""
    outer, _, name = path.rpartition(".")
    module = anatomy.modules.get(outer)
    if module is None or (module._parameters.get(name) is None and module._buffers.get(name) is None):
        return None
    return outer, name


def _parameter(data: DataId, anatomy: Anatomy) -> Watch:
    found = holder_of(data.name, anatomy)
    if found is None:
        known = list(_named_tensors(anatomy.model))
        raise CannotWatch(f"no parameter or buffer '{data.name}'{did_you_mean(data.name, known)}")
    outer, name = found
    owner = anatomy.modules[outer]
    try:
        value = indexed(getattr(owner, name), data)
    except Exception as error:  # a special tensor, and an index that is not in it
        raise CannotWatch(f"'{data.label}' cannot be read: {error}") from None
    called = _called(outer, anatomy)
    where = f"when a step begins, before and after {anatomy.name_of(called)}"
    modules: list[tuple[str, Phase]] = [(called, "before"), (called, "after")]
    watch = Watch(data, data.label, f"looked at {where}", modules, [(STEP, "before")], owner, name)
    watch.begin(value)
    return watch


def _passing(data: DataId, anatomy: Anatomy) -> Watch:
    path = _path(data.name)
    if path not in anatomy.modules:
        raise CannotWatch(f"no module '{data.name}'{did_you_mean(data.name, anatomy.modules)}")
    if not is_called(anatomy.modules[path]):
        raise CannotWatch(f"'{path}' is a list of modules, which is not called itself: take one of them")
    if data.kind == "input":
        return Watch(data, f"input of {data.label}", f"looked at before {data.name}", [(path, "before")])
    return Watch(data, f"output of {data.label}", f"looked at after {data.name}", [(path, "after")])


def _cache(data: DataId, anatomy: Anatomy) -> Watch:
    found = _CACHE.fullmatch(data.name)
    if found is None:
        raise CannotWatch(f"no entry of a cache '{data.name}': write cache:2.keys or cache:2.values")
    layer = _layer_with(int(found[1]), anatomy)
    if layer is None:
        raise CannotWatch(f"no layer {found[1]}: this model has {len(anatomy.layer_paths)}, counted from 0")
    return Watch(data, f"cache {data.label}", f"looked at after {layer}", [(layer, "after")])


def _option(data: DataId) -> Watch:
    if data.name not in OPTIONS and not _is_of_processor(data.name):
        raise CannotWatch(f"no sampling option '{data.name}'{did_you_mean(data.name, OPTIONS)}")
    return Watch(data, f"option {data.label}", "looked at when a step begins and at sample", (), _at(STEP, SAMPLE))


def _probability(data: DataId, anatomy: Anatomy, vocabulary: Vocabulary) -> Watch:
    size = getattr(getattr(anatomy.model, "config", None), "vocab_size", None)
    try:
        token = vocabulary.find(data.name, size if isinstance(size, int) else None)
    except UnknownToken as error:
        raise CannotWatch(str(error)) from None
    if data.indexes and (len(data.indexes) > 1 or len(data.indexes[0]) > 1 or not isinstance(data.indexes[0][0], int)):
        raise CannotWatch("the index of a probability is the number of a sequence, from 0: write probability:' a'[0]")
    title = f"probability of {vocabulary.quoted(token)}"
    return Watch(data, title, "looked at sample, before the draw", (), _at(SAMPLE), token=token)


def indexed(value: object, data: DataId) -> object:
    """The part of a value that is meant; a number where that is one element. Raises IndexError: it has no such part."""
    for index in data.indexes:
        value = value[index]  # type: ignore[index]
    return value.item() if isinstance(value, Tensor) and value.dim() == 0 else value


def _at(*names: str) -> list[tuple[str, Phase]]:
    return [(name, "before") for name in names]


def _path(name: str) -> str:
    return "" if name == WHOLE_MODEL else name


def _named_tensors(model: nn.Module) -> Iterator[str]:
    yield from (name for name, _ in model.named_parameters())
    yield from (name for name, _ in model.named_buffers())


def _called(path: str, anatomy: Anatomy) -> str:
    """The module around a tensor that is called."""
    while path and not is_called(anatomy.modules[path]):
        path = path.rpartition(".")[0]
    return path


def _layer_with(index: int, anatomy: Anatomy) -> str | None:
    """The layer whose entry in the cache has a number; of an encoder–decoder, the decoder's."""
    for path in reversed(anatomy.layer_paths):
        if any(getattr(module, "layer_idx", None) == index for module in anatomy.modules[path].modules()):
            return path
    last = anatomy.stacks[-1] if anatomy.stacks else []
    return last[index] if index < len(last) else None


def _is_of_processor(name: str) -> bool:
    """Whether it is `CLASS.NAME`, of a class of logits processors."""
    owner, dot, _ = name.partition(".")
    return bool(dot) and is_logits_processor(owner)
