"""Which modules of a model are routers of a mixture of experts.

They are found without a table of architectures: by what a model says that it can record as `router_logits`, and else by
structure, a router beside its `experts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel
from transformers.utils.output_capturing import _CAN_RECORD_REGISTRY, OutputRecorder

from dap_server.engine.anatomy.modules import Anatomy

_STRUCTURAL = ("gate", "router", "gating")
"""What routers are called that nobody declares."""


@dataclass(frozen=True)
class Router:
    """A module that routes.

    Attributes:
        index: of the logits in what it returns; None when only its shape can tell.
        experts: path of the module that it routes to; None when there is none beside it.
    """

    path: str
    index: int | None
    experts: str | None


def routers(anatomy: Anatomy) -> list[Router]:
    """All routers of a model, in tree order."""
    if anatomy not in _found:
        _found[anatomy] = _find(anatomy)
    return _found[anatomy]


_found: WeakKeyDictionary[Anatomy, list[Router]] = WeakKeyDictionary()


def _find(anatomy: Anatomy) -> list[Router]:
    indexes: dict[str, int | None] = {}
    for owner, model in anatomy.modules.items():
        if isinstance(model, PreTrainedModel):
            for recorder in _recorders(model):
                indexes |= {p: recorder.index for p in anatomy.modules if _is_meant(recorder, owner, p, anatomy)}
    for path, module in anatomy.modules.items():
        names = dict(module.named_children())
        if "experts" in names and not any(p == path or p.startswith(f"{path}.") for p in indexes):
            indexes |= {f"{path}.{name}" if path else name: None for name in _STRUCTURAL if name in names}
    innermost = [p for p in anatomy.modules if p in indexes and not any(q.startswith(f"{p}.") for q in indexes)]
    return [Router(path, indexes[path], _experts_beside(path, anatomy)) for path in innermost]


def _recorders(model: PreTrainedModel) -> list[OutputRecorder]:
    declared = _CAN_RECORD_REGISTRY.get(model).get("router_logits") or []
    several = declared if isinstance(declared, list) else [declared]
    return [recorder for recorder in several if isinstance(recorder, OutputRecorder)]


def _is_meant(recorder: OutputRecorder, owner: str, path: str, anatomy: Anatomy) -> bool:
    if owner and not path.startswith(f"{owner}."):
        return False
    if recorder.layer_name is not None and f".{recorder.layer_name.strip('.')}." not in f".{path}.":
        return False
    if recorder.class_name is not None and path.endswith(recorder.class_name):
        return True
    return recorder.target_class is not None and isinstance(anatomy.modules[path], recorder.target_class)


def _experts_beside(path: str, anatomy: Anatomy) -> str | None:
    parent = path.rpartition(".")[0]
    beside = f"{parent}.experts" if parent else "experts"
    return beside if beside in anatomy.modules and beside != path else None
