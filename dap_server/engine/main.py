"""The process that runs the model: connects to the adapter, then loads and runs what it is told."""

from __future__ import annotations

import os
import sys
import traceback
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from dap_server.engine.importing import without_collecting
from dap_server.engine.session import EngineSession
from dap_server.protocol.events import ExitedEventBody
from dap_server.wire.loopback import connect

if TYPE_CHECKING:
    from dap_server.engine.program.script import Script

TOKEN_VARIABLE = "LLM_DAP_ENGINE_TOKEN"


def main(port: int) -> NoReturn:
    """Connects to an adapter on this machine. The token comes in the environment, where other users cannot see it."""
    session = EngineSession(connect(port, os.environ.pop(TOKEN_VARIABLE, "")))
    session.start()
    with without_collecting():
        session.progress("importing torch", 5)
        import torch  # noqa: F401  # with transformers it takes seconds, after which requests can be answered

        session.progress("importing transformers", 20)
        from dap_server.engine.requests import requests

    session.serve(requests)
    while session.script is None and (session.debuggee is None or session.debuggee.run is None):
        session.commands.get()()
    session.configured.wait()
    if session.script is not None:
        _run_program(session, session.script)
    code = _run(session)
    sys.stdout.flush()
    sys.stderr.flush()
    session.connection.event("exited", ExitedEventBody(exit_code=code))  # for an adapter that is not our parent
    os._exit(code)  # the threads of torch and of the interpreter have nothing left to clean up


def _run(session: EngineSession) -> int:
    """Runs, and runs again after a restart. Returns the exit status."""
    from dap_server.engine.requests.session import Ended, Restarted

    assert session.debuggee is not None
    assert session.debuggee.run is not None
    while True:
        try:
            session.debuggee.run.run()
            return 0
        except Restarted as restarted:
            session.debuggee.run = restarted.run
        except Ended as ended:
            return ended.code
        except Exception as error:
            traceback.print_exc()
            session.output(f"the model raised {type(error).__name__}: {error}\n", "important")
            return 1


def _run_program(session: EngineSession, script: Script) -> NoReturn:
    """Debugs the models that a program calls. The process ends with the interpreter."""
    from dap_server.engine import listening
    from dap_server.engine.program.running import run_program
    from dap_server.engine.requests.attaching import stand

    def enters(frame: FrameType) -> None:
        stand(session, frame, "entry", "")

    def ends(code: int) -> None:
        if code == 0 and session.models is not None and not session.models.all:
            session.output("the program has ended without a call of a model\n", "console")
        session.connection.event("exited", ExitedEventBody(exit_code=code))

    def raised(error: BaseException) -> None:
        if session.uncaught is not None:
            session.uncaught.stop_at(error)

    entered = enters if session.stops_on_entry else None
    listening.launched(session)
    run_program(script, ends, lambda text: session.output(text, "console"), entered, raised)
