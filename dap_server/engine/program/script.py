"""A file or a module that is run as Python itself would run it, as `__main__`."""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, FrameType, ModuleType, TracebackType

from dap_server.engine.program.entry import with_entry
from dap_server.protocol.errors import RequestError
from dap_server.protocol.launch import LaunchArguments

OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
"""Where the debugger lies, whose frames are none of the program."""


class ProgramError(RequestError):
    """The program cannot be started; the text says what is wrong with it."""

    id = 23


class Script:
    """What `program` or `module` of a launch configuration names."""

    def __init__(self, launch: LaunchArguments) -> None:
        """Looks at it, so that what is wrong with it is known before anything of it runs.

        Raises:
            ProgramError: there is no such file or module, or it is no Python.
        """
        self.name = launch.subject
        self._module = launch.module
        self._arguments = launch.args
        if launch.program is not None:
            self._path = os.path.abspath(launch.program)
            self._code = _compiled(self._path)
        elif launch.module is not None:
            _check_module(launch.module)

    def run(self, entered: Callable[[FrameType], None] | None = None) -> None:
        """Runs it on this thread to its end. Raises what it raises; `forget_ours` leaves its own frames.

        `entered` is called at its first line, before that runs.
        """
        main = ModuleType("__main__")
        main.__dict__.update(__builtins__=builtins, __annotations__={}, __cached__=None)
        sys.modules["__main__"] = main
        sys.argv = [self.name, *self._arguments]
        code = self._begin_module(main, self._module) if self._module is not None else self._begin_file(main)
        if entered is not None and (source := _source(main)) is not None:
            code = with_entry(source, code.co_filename, entered)
        exec(code, main.__dict__)

    def _begin_file(self, main: ModuleType) -> CodeType:
        _search_first(os.path.dirname(os.path.realpath(self._path)))
        main.__file__, main.__loader__ = self._path, SourceFileLoader("__main__", self._path)
        return self._code

    def _begin_module(self, main: ModuleType, name: str) -> CodeType:
        _search_first(os.getcwd())
        try:
            spec, code = _spec_and_code(name)
        except ProgramError as error:
            raise SystemExit(f"{sys.executable}: {error}") from None
        main.__file__, main.__loader__, main.__spec__ = spec.origin, spec.loader, spec
        main.__package__ = spec.parent
        sys.argv[0] = spec.origin or name
        return code


def forget_ours(error: BaseException) -> None:
    """Leaves in the tracebacks of an exception, and of those that led to it, only what they have without a debugger."""
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    while chain:
        one = chain.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = _without_ours(one.__traceback__)
            chain += [one.__cause__, one.__context__]


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    at = traceback
    while at is not None and at.tb_next is not None:
        if _is_ours(at.tb_next):
            at.tb_next = at.tb_next.tb_next
        else:
            at = at.tb_next
    return traceback


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(OURS)


def _source(main: ModuleType) -> str | None:
    get = getattr(main.__loader__, "get_source", None)
    return get(main.__spec__.name if main.__spec__ else "__main__") if get else None


def _search_first(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path.insert(0, folder)


def _compiled(path: str) -> CodeType:
    """Raises ProgramError."""
    if os.path.isdir(path):
        raise ProgramError(f"'program': '{path}' is a folder: name a Python file in it")
    try:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec", dont_inherit=True)
    except OSError as error:
        raise ProgramError(f"'program': '{path}' cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:  # a ValueError is of null bytes, in older versions
        where = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        what = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ProgramError(f"'program': '{path}'{where} is no Python: {what}") from None


def _check_module(name: str) -> None:
    """As far as that needs no import, which is for the program to do. Raises ProgramError."""
    package = name.partition(".")[0]
    try:
        is_there = importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        is_there = False
    if not is_there:
        raise ProgramError(f"'module': {_missing(name)}")


def _missing(name: str) -> str:
    hint = ": name a file as 'program'" if name.endswith(".py") or "/" in name else ""
    return f"there is no module '{name}' for {sys.executable} in {os.getcwd()}{hint}"


def _spec_and_code(name: str) -> tuple[ModuleSpec, CodeType]:
    """What `python -m` would run. Raises ProgramError."""
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        raise ProgramError(f"No module named {error.name}") from None
    if spec is not None and spec.submodule_search_locations is not None:
        if name.endswith(".__main__"):
            raise ProgramError(f"Cannot use package '{name}' as __main__ module")
        try:
            return _spec_and_code(f"{name}.__main__")
        except ProgramError as error:
            raise ProgramError(f"{error}; '{name}' is a package and cannot be directly executed") from None
    code = getattr(spec.loader, "get_code", lambda _name: None)(spec.name) if spec is not None else None
    if spec is None or code is None:
        raise ProgramError(f"No module named {name}" if spec is None else f"No code object available for {name}")
    return spec, code
