"""The Python frames of a thread that runs on while another one stands: where it is when somebody asks."""

from __future__ import annotations

from types import FrameType

from dap_server.engine.execution.stops import Stop
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.python_frames import called, live


def running_frames(stop: Stop, frame: FrameType | None, just_my_code: bool) -> list[Frame]:
    """A heading that says that it runs, and its frames, innermost first; in the next moment they are others.

    `stop`: of the thread that stands, whose references these are among.
    """
    found = called(list(live(frame)), just_my_code, or_all=True)
    frames = [
        Frame(
            "python",
            one.name,
            one.source,
            stop,
            stop.place.step,
            0,
            running=one.frame,
            is_library=just_my_code and one.is_library,
            is_elsewhere=True,
        )
        for one in found
    ]
    return [Frame("label", "running", None, stop, stop.place.step, 0), *frames]
