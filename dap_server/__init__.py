"""A debugger for language models that speaks the Debug Adapter Protocol.

For a program that wants to be debugged while it runs:

    import dap_server

    dap_server.listen(5678)          # editors can attach from now on
    dap_server.wait_for_client()     # if the program should wait for one
    dap_server.breakpoint()          # stops here, if one is attached
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["breakpoint", "is_client_connected", "listen", "wait_for_client"]


def listen(address: int | tuple[str, int] = 0, token: str | None = None) -> tuple[str, int]:
    """Lets editors attach to this process. It runs on as it was until one comes, and again when it has gone.

    In a program that an editor has started, that one is there already: nothing is opened.

    Somebody who has the token can run code in this process: with the port alone, only this machine is listened to. The
    token is kept in a file that only your user can read, where editors on this machine find it.

    Args:
        address: a port of 127.0.0.1, 0 for a free one, or (host, port).
        token: what an editor has to show. Without one it is what the environment variable LLM_DAP_TOKEN says, or a
            new one, which is printed once on standard error.

    Returns:
        Host and port. Another call gives the same again.

    Raises:
        OSError: the address cannot be had.
        RuntimeError: this process listens already, at another address or with another token.
    """
    from dap_server.engine import listening

    return listening.listen(address, token)


def wait_for_client() -> None:
    """Waits until an editor is attached and has sent its breakpoints. Raises RuntimeError unless this listens."""
    from dap_server.engine import listening

    listening.wait_for_client()


def is_client_connected() -> bool:
    """Whether an editor is attached just now."""
    from dap_server.engine import listening

    return listening.is_client_connected()


def breakpoint() -> None:
    """Stops this thread on the line that calls this, if an editor is attached; else does nothing."""
    from dap_server.engine import listening

    listening.breakpoint()
