"""Hooks on modules: set, fire, remove. Only handles of our own are ever removed."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Given, call_frame
from dap_server.engine.execution.own_hooks import OwnHook
from dap_server.modelmap.places import Phase

Before = Callable[[nn.Module, FrameType, Given | None], None]
"""Is told what the module was given, where that takes no time."""

After = Callable[[nn.Module, FrameType, Any], None]


class ModuleHooks:
    """Reports module calls of one thread: of armed modules always, of every module while `watch_all` is on.

    A module call is reported once: an armed module reports itself, whatever else is watched. While nothing is armed or
    watched no module carries a hook.
    """

    def __init__(self, before: Before, after: After) -> None:
        self._before, self._after = before, after
        self._armed: dict[tuple[nn.Module, Phase], RemovableHandle] = {}
        self._all: RemovableHandle | None = None
        self._lock = threading.Lock()
        self.thread: int | None = None
        """Identifier of the only thread whose calls count."""

    def arm(self, places: Iterable[tuple[nn.Module, Phase]]) -> None:
        """Arms exactly these; callable from any thread, takes effect from the next call of each module on."""
        with self._lock:
            wanted = set(places)
            for place in self._armed.keys() - wanted:
                self._armed.pop(place).remove()
            for module, phase in wanted - self._armed.keys():
                if phase == "before":
                    handle = module.register_forward_pre_hook(OwnHook(self._armed_before), with_kwargs=True)
                else:
                    handle = module.register_forward_hook(OwnHook(self._armed_after))
                self._armed[module, phase] = handle

    def watch_all(self, on: bool) -> None:
        """Reports the beginning of every module call; callable from any thread, also while modules run."""
        with self._lock:
            if on and self._all is None:
                self._all = register_module_forward_pre_hook(self._any_before)
            elif not on and self._all is not None:
                self._all.remove()
                self._all = None

    def _armed_before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if threading.get_ident() == self.thread:
            self._before(module, call_frame(sys._getframe(1)), (args, kwargs))

    def _armed_after(self, module: nn.Module, _args: Any, output: Any) -> None:
        if threading.get_ident() == self.thread:
            self._after(module, call_frame(sys._getframe(1)), output)

    def _any_before(self, module: nn.Module, _args: Any) -> None:
        if (module, "before") not in self._armed and threading.get_ident() == self.thread:
            self._before(module, call_frame(sys._getframe(1)), None)


NOT_OF_USERS = ("dap_server", "transformers", "torch")
"""Packages whose hooks belong to the machinery: ours, and those that collect outputs."""


def hooked_modules(anatomy: Anatomy) -> list[str]:
    """The modules that carry forward hooks of the user's, by name."""
    return [
        anatomy.name_of(path)
        for path, module in anatomy.modules.items()
        if any(map(_is_of_user, [*module._forward_pre_hooks.values(), *module._forward_hooks.values()]))
    ]


def _is_of_user(hook: object) -> bool:
    while isinstance(hook, functools.partial):
        hook = hook.func
    owner = getattr(hook, "__module__", None) or type(hook).__module__
    return owner.partition(".")[0] not in NOT_OF_USERS
