"""Models of experts decode with other kernels than they prefill with, on an accelerator."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class Kernels(contextlib.ExitStack):
    """Switches a model between the two. A step that runs again takes the kernels that it ran with."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model, self._decodes = model, False

    def use(self, decode: bool) -> None:
        if decode and not self._decodes:
            self.enter_context(self._model._optimize_model_for_decode())
        elif not decode and self._decodes:
            self.close()
        self._decodes = decode

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Leaves the kernels as they were found."""
        was = self._decodes
        try:
            yield
        finally:
            self.use(decode=was)
