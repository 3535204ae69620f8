"""Which files are maps or Python, and where a file is that an editor names. Reads none."""

from __future__ import annotations

import re
from urllib.parse import unquote

SUFFIX = ".llmmap"

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+://[^/]*(/.*)")
"""`file:///x`, `vscode-remote://ssh-remote+host/x`: editors send them where a path is expected."""


def is_map(path: str) -> bool:
    return path.lower().endswith(SUFFIX)


def is_python_file(path: str) -> bool:
    return path.lower().endswith((".py", ".pyw"))


def local_path(path: str) -> str:
    """The path of a file on this machine, also where an editor sends an address."""
    address = _ADDRESS.fullmatch(path)
    return unquote(address[1]) if address else path
