"""The map of a model as its config makes it now, made by `llm-dap map` in a process of its own.

Opening a file must neither run code that came with a model nor download anything: the model is a local folder, remote
code is never trusted, and transformers is told that there is no network.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import fields
from pathlib import Path

import dap_server
from dap_server.modelmap.text import Header, MapText, ModelMap, read_map

SECONDS = 120.0
"""How long a map may take; one of a large model on a busy machine takes ten."""
CONFIGS = ("config.json", "generation_config.json")


class FreshMapError(Exception):
    """The map cannot be made; the text says why."""


class FreshMaps:
    """One process at a time. Used from the event loop alone."""

    def __init__(self, command: list[str] | None = None) -> None:
        self._command = command or [sys.executable, "-P", "-m", "dap_server", "map"]  # -P: nothing from the workspace
        self._known: dict[Path, tuple[list[int], MapText | FreshMapError]] = {}
        self._turn = asyncio.Lock()

    def known(self, folder: Path) -> MapText | FreshMapError | None:
        """Of a model whose config is as it was when the map was made."""
        stamps, result = self._known.get(folder, ([], None))
        return result if result is not None and stamps == _stamps(folder) else None

    async def make(self, folder: Path) -> None:
        """What `known` answers from then on. May be cancelled, which ends the process."""
        async with self._turn:
            if self.known(folder) is not None:
                return
            stamps = _stamps(folder)
            result: MapText | FreshMapError
            try:
                result = read_map(await self.text(folder))
            except FreshMapError as error:
                result = error
            self._known[folder] = (stamps, result)

    async def text(self, model: Path | str) -> str:
        """Of a folder, or of an id of the hub, which somebody has to have asked for: its config may be downloaded.

        Raises FreshMapError.
        """
        if str(model).startswith("-"):
            raise FreshMapError("this is no name of a model")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command,
            str(model),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            env=_environment(offline=isinstance(model, Path)),
        )
        try:
            output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
        except TimeoutError:
            raise FreshMapError(f"it took longer than {SECONDS:.0f} seconds") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = errors.decode(errors="replace").strip().rpartition("\n")[2].removeprefix("llm-dap map: ")
            raise FreshMapError(said or f"it ended with exit status {process.returncode}")
        return output.decode()


def _stamps(folder: Path) -> list[int]:
    return [path.stat().st_mtime_ns if path.is_file() else 0 for path in (folder / name for name in CONFIGS)]


def _environment(offline: bool) -> dict[str, str]:
    """In which the same interpreter finds this very package."""
    ours = str(Path(dap_server.__file__).parents[1])
    path = os.environ.get("PYTHONPATH")
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([ours, path] if path else [ours]),
        "PYTHONIOENCODING": "utf-8",
        **({"HF_HUB_OFFLINE": "1"} if offline else {}),
    }


def as_model_map(text: MapText) -> ModelMap:
    """What was read, in the form in which a map is made."""
    header = {field.name: getattr(text, field.name) for field in fields(Header)}
    return ModelMap(**header, lines=list(text.lines.values()), classes=text.classes)
