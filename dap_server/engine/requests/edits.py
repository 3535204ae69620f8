"""Edits: made, listed, switched, taken back, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dap_server.engine.analysis.edits.proposal import steps_of
from dap_server.engine.execution.edits.edit import Edit
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.requests import editing
from dap_server.engine.requests.edit_specs import EditSpecs, spec_of, target_of
from dap_server.engine.requests.table import requests
from dap_server.engine.requests.values import frame_of
from dap_server.engine.session import EngineSession
from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.llm.edits import (
    ChangeEditArguments,
    EditArguments,
    EditsArguments,
    EditsFile,
    EditsFileArguments,
    EditSpec,
    EditsResponseBody,
    SaveEditsResponseBody,
    StepsOfEdit,
    UndoEditArguments,
)
from dap_server.wire.handlers import When


@requests.request(when=When.STOPPED, command="llm/edit")
def edit(session: EngineSession, args: EditArguments) -> EditsResponseBody:
    """Changes the run, which stands where it stood when that is done."""
    frame = frame_of(session, args.frame_id)
    return editing.add(session, frame, [_edit(session, spec, frame, args.steps) for spec in args.edits])


@requests.request(when=When.STOPPED, command="llm/edits")
def edits(session: EngineSession, args: EditsArguments) -> EditsResponseBody:
    """The list of the present branch."""
    return EditsResponseBody(edits=editing.told(session, session.stop.generation.edits, args.with_data))


@requests.request(when=When.STOPPED, command="llm/changeEdit")
def change_edit(session: EngineSession, args: ChangeEditArguments) -> EditsResponseBody:
    """Switches one on or off, or puts another in its place."""
    present = session.stop.generation.edits
    changed = present.of(args.id)
    if args.spec is None and args.enabled is None:
        raise InvalidArguments("'llm/changeEdit': say `enabled` or give another `spec`, at `$`")
    if args.spec is not None:
        frame = frame_of(session, None)
        spec = args.spec
        if spec.steps is None:
            spec = msgspec.structs.replace(spec, steps=spec_of(changed, with_data=False).steps)
        return editing.exchange(session, frame, changed, _edit(session, spec, frame, None))
    is_on = args.enabled is True
    about = f"switched {'on' if is_on else 'off'}: {changed.text}"
    return editing.put(session, present.switched(args.id, is_on), about)


@requests.request(when=When.STOPPED, command="llm/undoEdit")
def undo_edit(session: EngineSession, args: UndoEditArguments) -> EditsResponseBody:
    """Takes one off the list, or all of them."""
    if args.all:
        return editing.put(session, Edits(), "all edits undone")
    return editing.undo(session, args.id)


@requests.request(when=When.STOPPED, command="llm/saveEdits")
def save_edits(session: EngineSession, args: EditsFileArguments) -> SaveEditsResponseBody:
    """Writes the list to a file, numbers and all."""
    path = _path(args.file)
    present = session.stop.generation.edits
    file = EditsFile(
        version=1,
        model=type(session.ready.anatomy.model).__name__,
        edits=[spec_of(edit, with_data=True) for edit in present.all],
    )
    text = msgspec.json.format(msgspec.json.encode(file), indent=2)
    try:
        with path.open("wb" if args.replace else "xb") as target:
            target.write(text + b"\n")
    except FileExistsError:
        raise InvalidArguments(f"'{path}' is there already: set `replace` to overwrite it") from None
    except OSError as error:
        raise InvalidArguments(f"'{path}' cannot be written: {error.strerror}") from None
    return SaveEditsResponseBody(file=str(path), edits=len(present.all))


@requests.request(when=When.STOPPED, command="llm/loadEdits")
def load_edits(session: EngineSession, args: EditsFileArguments) -> EditsResponseBody:
    """Adds the edits of a file to the list, or puts them in its place."""
    path = _path(args.file)
    try:
        file = msgspec.json.decode(path.read_bytes(), type=EditsFile)
    except OSError as error:
        raise InvalidArguments(f"'{path}' cannot be read: {error.strerror}") from None
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InvalidArguments(f"'{path}' is no list of edits: {error}") from None
    model = type(session.ready.anatomy.model).__name__
    frame = frame_of(session, None)
    try:
        loaded = [_edit(session, spec, frame, None) for spec in file.edits]
    except CannotEdit as error:
        of = "" if file.model == model else f", which was made for {file.model}, does not fit {model}"
        raise CannotEdit(f"'{path}'{of}: {error}") from None
    if args.replace:
        return editing.replace_all(session, frame, loaded, f"edits of {path.name}")
    return editing.add(session, frame, loaded)


def _edit(session: EngineSession, spec: EditSpec, frame: Frame, which: StepsOfEdit | None) -> Edit:
    specs = EditSpecs(session.ready.anatomy, session.ready.vocabulary)
    return specs.edit(spec, steps_of(target_of(spec.target), which, frame.step))


def _path(file: str) -> Path:
    path = Path(file).expanduser()
    if not path.is_absolute():
        raise InvalidArguments(f"'{file}' is no absolute path: the model's process has another working directory")
    return path
