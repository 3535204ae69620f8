"""Stands in for the process of a model where a real one cannot be brought to behave so badly, or not soon enough.

Started by a launch configuration's `python`; what it does is in the environment variable BEHAVIOUR.
"""

import json
import os
import signal
import socket
import sys
from typing import Any

BEHAVIOUR = os.environ.get("BEHAVIOUR", "")


class Engine:
    """Loads nothing, stops once when the client is ready, and goes when it is told to."""

    def __init__(self, port: int) -> None:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(os.environ["LLM_DAP_ENGINE_TOKEN"].encode())
        self.stream = connection.makefile("rwb")
        self.seq = 0

    def send(self, **message: Any) -> None:
        self.seq += 1
        body = json.dumps({"seq": self.seq, **message}).encode()
        self.stream.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        self.stream.flush()

    def event(self, name: str, **body: Any) -> None:
        self.send(type="event", event=name, body=body)

    def run(self) -> None:
        while header := self.stream.readline():
            self.stream.readline()
            request = json.loads(self.stream.read(int(header.split(b":")[1])))
            if request["type"] == "request":
                self.handle(request)

    def handle(self, request: dict[str, Any]) -> None:
        command = request["command"]
        if (BEHAVIOUR, command) in DEATHS:
            os.kill(os.getpid(), DEATHS[BEHAVIOUR, command])
        if BEHAVIOUR == "goes without an answer" and command == "stackTrace":
            os._exit(0)
        if BEHAVIOUR == "deaf" and command in ("terminate", "disconnect"):
            return
        body: dict[str, Any] = {"breakpoints": []} if command == "llm/placeBreakpoints" else {"threads": []}
        self.send(type="response", request_seq=request["seq"], command=command, success=True, body=body)
        if command in ("terminate", "disconnect"):
            os._exit(0)
        if command == "configurationDone":
            self.begin()

    def begin(self) -> None:
        if BEHAVIOUR == "has last words":
            for i in range(3000):
                self.event("output", category="stdout", output=f"{i}\n")
            os._exit(3)
        if BEHAVIOUR == "talks nonsense":
            self.stream.write(b'Content-Length: 4\r\n\r\n{"a"Content-Length: 2\r\n\r\n{}')
            self.event("llm/loading", percentage="much")
            self.event("exited", exitCode="zero")
            self.send(type="response", request_seq=4711, command="threads", success=True)
            self.send(type="event", event=5)
        self.event("stopped", reason="entry", threadId=1, allThreadsStopped=True)


DEATHS = {
    ("is killed while loading", "launch"): signal.SIGKILL,
    ("is killed while running", "configurationDone"): signal.SIGKILL,
    ("is killed at a stop", "pause"): signal.SIGKILL,
    ("touches wrong memory", "configurationDone"): signal.SIGSEGV,
    ("aborts", "configurationDone"): signal.SIGABRT,
}

if __name__ == "__main__":
    if BEHAVIOUR == "is no engine":
        sys.exit("No module named dap_server")
    if BEHAVIOUR == "never connects":
        signal.pause()
    Engine(int(sys.argv[sys.argv.index("--port") + 1])).run()
