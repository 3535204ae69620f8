"""Threads: one per sequence of the batch; in a program, its own threads and the sequences of the one that stands."""

from __future__ import annotations

from torch import Tensor

from dap_server.engine.execution.stops import Stop
from dap_server.engine.inspection.frames import prompt_ids
from dap_server.engine.inspection.python_frames import in_call
from dap_server.engine.inspection.threads import ProgramThread, Threads, joined, split
from dap_server.engine.requests.table import requests
from dap_server.engine.session import MAX_THREADS, EngineSession
from dap_server.protocol.errors import InvalidArguments, NotStopped
from dap_server.protocol.requests import ThreadsResponseBody
from dap_server.protocol.types import Thread

MAX_NAME = 40


@requests.request()
def threads(session: EngineSession) -> ThreadsResponseBody:
    """One per sequence of the batch, up to eight; a model that still loads is one too."""
    debuggee = session.debuggee
    if session.threads is not None:
        return ThreadsResponseBody(threads=_of_program(session, session.threads))
    if debuggee is None or debuggee.run is None:
        return ThreadsResponseBody(threads=[Thread(id=1, name="model (loading)")])
    sequences = debuggee.stepper.generation.sequences
    if sequences > MAX_THREADS:
        return ThreadsResponseBody(threads=[Thread(id=1, name=f"{sequences} sequences")])
    ids: Tensor = debuggee.run.inputs["input_ids"]
    texts = [ids[i % ids.shape[0]].tolist() for i in range(sequences)]
    return ThreadsResponseBody(threads=[Thread(id=i + 1, name=_name(session, i, text)) for i, text in enumerate(texts)])


def _name(session: EngineSession, sequence: int, ids: list[int]) -> str:
    """`sequence 1: The capital of…`, and whether it has finished, as far as the model thread is not needed for it."""
    text = " ".join(session.ready.vocabulary.readable(ids).split())
    shown = text if len(text) <= MAX_NAME else f"{text[: MAX_NAME - 1]}…"
    return f"sequence {sequence + 1}: {shown}{' (finished)' if _is_finished(session, sequence) else ''}"


def _is_finished(session: EngineSession, sequence: int) -> bool:
    stop = session.ready.stepper.stop
    if stop is None or stop.generation.unfinished is None:
        return False
    unfinished = stop.generation.unfinished
    return not session.on_model_thread(lambda: bool(unfinished[sequence]))


def _of_program(session: EngineSession, known: Threads) -> list[Thread]:
    found: list[Thread] = []
    stop = _stop(session)
    for thread in known.all():
        if stop is None or known.of(stop.thread) != thread:
            found.append(Thread(id=thread.number, name=thread.name))
        else:
            names = _sequence_names(session, stop)
            suffixed = [f"{thread.name} · {name}" for name in names] or [thread.name]
            found.extend(Thread(id=joined(thread.number, i), name=name) for i, name in enumerate(suffixed))
    return found


def _sequence_names(session: EngineSession, stop: Stop) -> list[str]:
    """Of the call that a program stands in; nothing where it stands outside of one, or no text is known."""
    generation = stop.generation
    if not in_call(stop) or (generation.input_ids is None and generation.encoded is None):
        return []
    if generation.sequences > MAX_THREADS:
        return [f"{generation.sequences} sequences"]
    texts = session.on_model_thread(lambda: [prompt_ids(stop, i) for i in range(generation.sequences)])
    return [_name(session, i, text) for i, text in enumerate(texts)]


def _stop(session: EngineSession) -> Stop | None:
    try:
        return session.stop
    except NotStopped:
        return None


def sequence_of(session: EngineSession, thread_id: int, command: str) -> int:
    """Index in the batch of a thread's sequence. Raises InvalidArguments."""
    if session.threads is None:
        sequences = session.ready.stepper.generation.sequences
        if not 1 <= thread_id <= (sequences if sequences <= MAX_THREADS else 1):
            raise _unknown(thread_id, command)
        return thread_id - 1
    thread, sequence = thread_of(session, thread_id, command)
    if thread != session.threads.of(session.stop.thread):
        raise InvalidArguments(f"'{command}': {thread.name} runs, at `$.threadId`: ask for the thread that has stopped")
    return sequence


def thread_of(session: EngineSession, thread_id: int, command: str) -> tuple[ProgramThread, int]:
    """A thread of a program, and the index of its sequence that is meant. Raises InvalidArguments."""
    known = session.threads or Threads()
    number, sequence = split(thread_id)
    thread = next((one for one in known.all() if one.number == number), None)
    stop = _stop(session)
    stands = stop is not None and thread == known.of(stop.thread)
    count = stop.generation.sequences if stop is not None and stands and in_call(stop) else 1
    if thread is None or sequence >= (count if count <= MAX_THREADS else 1):
        raise _unknown(thread_id, command)
    return thread, sequence


def _unknown(thread_id: int, command: str) -> InvalidArguments:
    return InvalidArguments(f"'{command}': no thread {thread_id} at `$.threadId`: ask for the threads again")
