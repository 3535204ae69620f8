"""Beginning and end: launch, configurationDone, restart, terminate, disconnect."""

from __future__ import annotations

import functools
import os
import stat
import sys
import traceback
from contextlib import suppress

from dap_server.engine.anatomy.loading import load
from dap_server.engine.execution.prompting import Run
from dap_server.engine.execution.stepping import Interruption
from dap_server.engine.program import surroundings
from dap_server.engine.program.forking import in_children
from dap_server.engine.program.python_lines import count_anew
from dap_server.engine.program.running import end_program
from dap_server.engine.program.script import Script
from dap_server.engine.requests import python
from dap_server.engine.requests.attaching import begin, leave
from dap_server.engine.requests.programs import models_of, take_up, wired
from dap_server.engine.requests.table import requests
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InternalError, RequestError
from dap_server.protocol.launch import LaunchArguments
from dap_server.protocol.llm.control import RunningEventBody, UseMapArguments
from dap_server.protocol.requests import DisconnectArguments
from dap_server.wire.reply import Reply


class Restarted(Interruption):
    """The present run ends, another one begins."""

    def __init__(self, run: Run) -> None:
        super().__init__("restarted")
        self.run = run


class Ended(Interruption):
    """The process ends with an exit status."""

    def __init__(self, code: int) -> None:
        super().__init__("ended")
        self.code = code


@requests.request()
def launch(session: EngineSession, args: LaunchArguments) -> Reply[None] | None:
    """Loads the model on the main thread; the run, like that of a program, waits for `configurationDone`."""
    python.configure(session, args.python_debugger and not args.no_debug, args.just_my_code, args.program)
    session.just_my_code = args.just_my_code
    if args.is_program:
        session.script = Script(args)
        surroundings.restore()  # on this thread, which imports debugpy too: that changes the search path meanwhile
        in_children(session.forked)
        if not args.no_debug:
            session.models = models_of(session)
            take_up(session)
            session.stops_on_entry = args.stop_on_entry and args.python_debugger
            if args.stop_on_entry and not args.python_debugger:
                session.models.pause("entry")
        session.commands.put(lambda: None)  # wakes the main thread
        return None
    reply: Reply[None] = Reply()

    def work() -> None:
        try:
            _load(session, args)
        except RequestError as error:
            reply.fail(error)
        except Exception as error:
            traceback.print_exc()
            reply.fail(InternalError(f"loading failed: {type(error).__name__}: {error}"))
        else:
            reply.settle(None)

    session.commands.put(work)
    return reply


def _load(session: EngineSession, args: LaunchArguments) -> None:
    loaded = load(args, session.progress)
    debuggee = wired(session, loaded)
    debuggee.run = debuggee.prepare(args)
    session.debuggee = debuggee
    session.leaving.callback(debuggee.stepper.release)
    if args.no_debug:
        session.progress("ready", 100)
    _announce(session, debuggee.run)


@requests.request(command="llm/useMap", needs_model=False)
def use_map(session: EngineSession, args: UseMapArguments) -> None:
    """Decides which map frames point into. Never fails: without one they point at Python."""
    if session.models is not None:
        session.models.use_map(args.map, args.candidates)
        return
    if session.script is not None:
        return
    if not session.configured.is_set():
        session.progress("making the map", 95)
    session.ready.use_map(args.map, args.candidates, args.model)
    if not session.configured.is_set():
        session.progress("ready", 100)


def _announce(session: EngineSession, run: Run) -> None:
    sequences = run.inputs["input_ids"].shape[0]
    body = RunningEventBody(model=type(run.model).__name__, device=str(run.model.device), sequences=sequences)
    session.connection.event("llm/running", body)


@requests.request()
def configuration_done(session: EngineSession) -> None:
    """The client has sent its breakpoints: the run may begin."""
    session.afterwards(session.configured.set if session.listener is None else functools.partial(begin, session))


@requests.request()
def restart(session: EngineSession, args: LaunchArguments) -> None:
    """Begins again with a new configuration on the loaded model."""
    count_anew()
    debuggee = session.ready
    run = debuggee.prepare(args)
    _announce(session, run)
    for breakpoint in debuggee.place_again():
        session.afterwards(functools.partial(session.breakpoint_changed, breakpoint))
    session.afterwards(lambda: debuggee.stepper.interrupt(Restarted(run)))


@requests.request()
def terminate(session: EngineSession) -> None:
    """Ends the run as if it had been interrupted, or a program that was attached to."""
    if session.listener is not None:
        leave(session, ends=True)
        return
    session.afterwards(lambda: _end(session))


@requests.request()
def disconnect(session: EngineSession, args: DisconnectArguments) -> None:
    """Ends the process, or leaves it to run to its end without a debugger."""
    if session.listener is not None:
        leave(session, ends=args.terminate_debuggee is True)
    elif args.terminate_debuggee is False and (session.debuggee is not None or session.script is not None):
        session.is_detached = True
        _redirect_output()
        session.afterwards(session.put_back)
        session.afterwards(session.configured.set)
    else:
        session.afterwards(lambda: _end(session))


def _end(session: EngineSession) -> None:
    if session.script is not None and session.configured.is_set():
        end_program(session.put_back)
        return
    if session.debuggee is None or not session.configured.is_set():
        os._exit(0)  # nothing runs that could be unwound
    session.debuggee.stepper.interrupt(Ended(0))


def _redirect_output() -> None:
    """The pipes to the adapter are about to close; a model that prints must not die of it. A terminal stays."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        with suppress(OSError, ValueError, AttributeError):  # a program may have closed or replaced it
            stream.flush()
        with suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.dup2(os.open(os.devnull, os.O_WRONLY), number)
