"""The models of a program, put together with the session that debugs them."""

from __future__ import annotations

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.debuggee import Debuggee
from dap_server.engine.execution.stops import Stop, Uncaught
from dap_server.engine.inspection.threads import Threads
from dap_server.engine.program.models import Models, Placed
from dap_server.engine.program.uncaught import UncaughtExceptions, stop_of
from dap_server.engine.requests import python
from dap_server.engine.session import EngineSession
from dap_server.protocol.types import Breakpoint


def models_of(session: EngineSession) -> Models:
    """Finds the models of this process for a session, whose current one is the session's. Nothing is attached yet."""

    def make(loaded: Loaded) -> Debuggee:
        debuggee = wired(session, loaded)
        debuggee.stepper.judging.switched_off = debuggee.changed = lambda one: models.breakpoint_changed(one)
        return debuggee

    def current(debuggee: Debuggee) -> None:
        if session.debuggee is None or not session.debuggee.stepper.stage.is_parked:  # somebody looks at that one
            session.debuggee = debuggee

    session.threads = Threads()

    def stands(uncaught: Uncaught) -> None:
        stepper = session.ready.stepper
        stepper.stand_outside(stop_of(stepper, uncaught))

    session.uncaught = UncaughtExceptions(stands)
    models = Models(
        make,
        current,
        changed=lambda placed: session.breakpoint_changed(placed),
        say=lambda text: session.output(text, "console"),
    )
    models.left_by_step = lambda: python.leaves_call(session)
    return models


def take_up(session: EngineSession) -> None:
    """Calls of models that begin from now on are debugged, until `session.put_back`."""
    assert session.models is not None
    session.leaving.callback(session.models.detach)
    session.models.attach()
    if session.uncaught is not None:
        session.leaving.callback(session.uncaught.remove)
        session.uncaught.install()
    session.leaving.callback(python.debugger(session).detach)


def wired(session: EngineSession, loaded: Loaded) -> Debuggee:
    """A model that tells a session what happens to it."""

    def stopped(stop: Stop) -> None:
        session.debuggee = debuggee  # another thread may have called another model before this one could stop
        session.stopped(stop)

    debuggee = Debuggee(loaded, stopped, session.output, say=lambda text: session.output(text, "console"))
    debuggee.logged = session.logged
    debuggee.just_my_code = session.just_my_code
    debuggee.stepper.judging.switched_off = debuggee.changed = session.breakpoint_changed
    debuggee.stepper.stage.progress.tell = session.replaying
    debuggee.stepper.stage.left = session.continued
    return debuggee


def told(placed: Placed) -> Breakpoint:
    """As a client is told of it."""
    made = Breakpoint(verified=placed.is_verified, id=placed.id, message=placed.message)
    if not placed.is_verified:
        made.reason = "pending" if placed.is_pending else "failed"
    return made
