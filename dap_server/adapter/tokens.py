"""The token of a listening adapter, in a file that only its user can read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dap_server.wire.loopback import new_token


def token_file(port: int) -> str:
    """Where the adapter that listens on a port keeps its token; clients on this machine read it there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = os.path.join(runtime, "llm-dap") if runtime else os.path.join(tempfile.gettempdir(), _own_name())
    return os.path.join(folder, f"{port}.token")


def _own_name() -> str:
    return f"llm-dap-{os.getuid()}" if hasattr(os, "getuid") else "llm-dap"


@contextmanager
def stored_token(port: int) -> Iterator[str]:
    """A new token, stored while this is open.

    Raises:
        PermissionError: the folder belongs to somebody else, or is a link to who knows where.
    """
    token, path = new_token(), token_file(port)
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.path.islink(folder) or (hasattr(os, "getuid") and os.stat(folder).st_uid != os.getuid()):
        raise PermissionError(f"{folder} is not a folder of yours: set XDG_RUNTIME_DIR to one")
    with suppress(FileNotFoundError):
        os.unlink(path)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token)
    try:
        yield token
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
