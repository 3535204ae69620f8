"""What a program finds around it: its own search path and environment, not what the debugger was started with."""

from __future__ import annotations

import os
import site
import sys

from dap_server.engine.program.script import OURS

PATH_VARIABLE = "LLM_DAP_PYTHONPATH"
"""Has PYTHONPATH as it was before the adapter put us in front of it; missing where it did not need to."""


def restore() -> None:
    """As if `python FILE` had been called. What we still import comes from packages that are imported already."""
    if not sys.flags.safe_path and sys.path:
        del sys.path[0]  # the working directory, as for any `python -m`
    before = os.environ.pop(PATH_VARIABLE, None)
    if before is None:
        return
    if before:
        os.environ["PYTHONPATH"] = before
    else:
        os.environ.pop("PYTHONPATH", None)
    here = os.path.dirname(OURS.rstrip(os.sep))
    if here in sys.path and here not in before.split(os.pathsep):
        sys.path.remove(here)
        if here in (*site.getsitepackages(), site.getusersitepackages()):
            sys.path.append(here)  # where it stood before, and the interpreter has dropped the second of two
