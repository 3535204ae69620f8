"""Stands between an editor and the debug adapter: passes on what they say, and tells it to a test.

Run as `recorder.py PORT adapter`. To the port go lines: `>` and a message of the editor, `<` and one of the adapter.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import IO


def main() -> int:
    port, *words = sys.argv[1:]
    adapter = subprocess.Popen(
        [sys.executable, "-m", "dap_server", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert adapter.stdin
    assert adapter.stdout
    with socket.create_connection(("127.0.0.1", int(port))) as test, test.makefile("wb") as lines:
        telling = threading.Lock()

        def tell(direction: bytes, body: bytes) -> None:
            with telling:
                lines.write(direction + body.replace(b"\n", b" ") + b"\n")
                lines.flush()

        def pass_on(source: IO[bytes], target: IO[bytes], direction: bytes) -> None:
            while (message := read(source)) is not None:
                head, body = message
                tell(direction, body)
                target.write(head + body)
                target.flush()
            target.close()

        editor = os.fdopen(0, "rb"), os.fdopen(1, "wb")
        threading.Thread(target=pass_on, args=(editor[0], adapter.stdin, b">"), daemon=True).start()
        pass_on(adapter.stdout, editor[1], b"<")
        return adapter.wait()


def read(source: IO[bytes]) -> tuple[bytes, bytes] | None:
    """A message: its header as it came, and its body. None at the end."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = source.readline()
        if not line:
            return None
        head += line
    length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length"))
    return head, source.read(length)


if __name__ == "__main__":
    sys.exit(main())
