"""An editor comes to a program that runs, and goes: attach, and what disconnect and terminate mean there."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from dap_server.engine.execution.calls.seam import is_in_model
from dap_server.engine.program.forking import in_children
from dap_server.engine.program.python_stops import PythonStop
from dap_server.engine.requests import python
from dap_server.engine.requests.programs import models_of, take_up
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.modelmap.path_mappings import PathMappings, Roots
from dap_server.protocol.attach import AttachArguments
from dap_server.protocol.errors import RequestError
from dap_server.protocol.events import ProcessEventBody

CALLED = "dap_server.breakpoint()"


@requests.request()
def attach(session: EngineSession, args: AttachArguments) -> None:
    """Begins a session in this program, unless another editor has one. Models are debugged from the next call on."""
    if session.listener is None:
        raise RequestError("'attach': this process was started for another session")
    session.listener.admit(session)
    session.attachment = args
    session.leaving.callback(in_children(session.forked))
    session.just_my_code = args.just_my_code
    session.paths = PathMappings([Roots(one.local_root, one.remote_root) for one in args.path_mappings])
    session.models = models_of(session)
    python.configure(session, args.python_debugger, args.just_my_code)
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else "python"
    session.connection.event(
        "process", ProcessEventBody(name=name, system_process_id=os.getpid(), start_method="attach")
    )


def begin(session: EngineSession) -> None:
    """The editor has sent its breakpoints: calls that begin from now on are debugged, and the program may go on."""
    assert session.listener is not None
    threads = _in_calls()
    take_up(session)
    session.configured.set()
    session.listener.configured()
    if threads:
        names = ", ".join(threads)
        session.output(f"in a call of a model already, which goes on as it is: {names}\n", "console")
    session.output("attached: what the program prints stays where it prints\n", "console")


def stand(session: EngineSession, frame: FrameType, reason: str = "breakpoint", text: str = CALLED) -> None:
    """Stops the calling thread at the line of a frame, until somebody goes on from there."""
    motion = python.stand(session, PythonStop(reason, text=text), frame)
    if motion is not None:
        python.debugger(session).step_from(frame, motion)


def leave(session: EngineSession, ends: bool) -> None:
    """Puts everything back before it is answered. With `ends` the program is then told to end, as by SIGTERM."""
    session.is_closed = True
    session.put_back()
    if ends:
        session.afterwards(lambda: os.kill(os.getpid(), signal.SIGTERM))


def _in_calls() -> list[str]:
    """The names of the threads in which a model is being called just now."""
    frames = sys._current_frames()
    return [thread.name for thread in threading.enumerate() if is_in_model(frames.get(thread.ident or 0))]
