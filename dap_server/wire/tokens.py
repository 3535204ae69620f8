"""The token of a listening process, in a file that only its user can read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from dap_server.wire.loopback import new_token

TOKEN_VARIABLE = "LLM_DAP_TOKEN"
"""The environment variable that has the token where its file cannot be read."""


def key(token: str, purpose: str) -> str:
    """What is shown of a token, which may be any text, to a program that listens for editors: 64 hexadecimal digits.

    What somebody connects for is told by it: one port serves every purpose, and a tunnel forwards one port.
    """
    return hashlib.sha256(f"llm-dap {purpose} {token}".encode()).hexdigest()


def token_file(port: int) -> str:
    """Where the process that listens on a port keeps its token; clients on this machine read it there."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = os.path.join(runtime, "llm-dap") if runtime else os.path.join(tempfile.gettempdir(), _own_name())
    return os.path.join(folder, f"{port}.token")


def _own_name() -> str:
    return f"llm-dap-{os.getuid()}" if hasattr(os, "getuid") else "llm-dap"


def known_token(port: int) -> str | None:
    """The token of whoever of this user listens on a port of this machine, from its file; None without one."""
    try:
        with open(token_file(port), encoding="utf-8") as file:
            return file.read()
    except OSError:
        return None


def store_token(port: int, token: str) -> None:
    """Keeps it in its file, in the place of an older one.

    Raises:
        PermissionError: the folder belongs to somebody else, or is a link to who knows where.
    """
    path = token_file(port)
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.path.islink(folder) or (hasattr(os, "getuid") and os.stat(folder).st_uid != os.getuid()):
        raise PermissionError(f"{folder} is not a folder of yours: set XDG_RUNTIME_DIR to one")
    forget_token(port)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(token)


def forget_token(port: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(token_file(port))


@contextmanager
def stored_token(port: int) -> Iterator[str]:
    """A new token, stored while this is open. Raises PermissionError, as `store_token` does."""
    token = new_token()
    store_token(port, token)
    try:
        yield token
    finally:
        forget_token(port)
