"""Maps of models as they are, made by a process that is one at a time and ends with who asked for it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from dap_server.language import fresh_maps
from dap_server.language.fresh_maps import FreshMapError, FreshMaps
from dap_server.modelmap.text import MapText
from tests.language.maps import ATLAS


def pretending(code: str) -> FreshMaps:
    """With a process that runs this instead of making a map; its model is `sys.argv[1]`."""
    return FreshMaps([sys.executable, "-c", f"import os, sys, time; {code}"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    return tmp_path


def writes(folder: Path) -> str:
    """Code that writes the map, and counts how often it has done so."""
    (folder / "map").write_text(ATLAS, encoding="utf-8")
    count, text = repr(str(folder / "count")), repr(str(folder / "map"))
    return f"open({count}, 'a').write('.'); sys.stdout.buffer.write(open({text}, 'rb').read())"


def test_a_map_is_made_once_until_the_config_changes(runner: asyncio.Runner, folder: Path) -> None:
    async def go() -> None:
        fresh = pretending(writes(folder))
        assert fresh.known(folder) is None
        await asyncio.gather(fresh.make(folder), fresh.make(folder))
        known = fresh.known(folder)
        assert isinstance(known, MapText)
        assert known.class_name == "LlamaForCausalLM"
        os.utime(folder / "config.json", ns=(1, 1))
        assert fresh.known(folder) is None
        await fresh.make(folder)
        assert (folder / "count").read_text(encoding="utf-8") == ".."

    runner.run(go())


def test_one_that_cannot_be_made_says_why_and_is_not_tried_again(runner: asyncio.Runner, folder: Path) -> None:
    async def go() -> None:
        fresh = pretending("sys.exit('llm-dap: no such model')")
        await fresh.make(folder)
        known = fresh.known(folder)
        assert isinstance(known, FreshMapError)
        assert str(known) == "llm-dap: no such model"

    runner.run(go())


def test_who_is_cancelled_takes_the_process_along(runner: asyncio.Runner, folder: Path) -> None:
    async def go() -> None:
        pid = folder / "pid"
        os.mkfifo(pid)  # opening it waits until the process writes
        fresh = pretending(f"f = open({str(pid)!r}, 'w'); f.write(str(os.getpid())); f.close(); time.sleep(600)")
        task = asyncio.create_task(fresh.make(folder))
        process = int(await asyncio.to_thread(pid.read_text))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
        assert fresh.known(folder) is None

    runner.run(go())


def test_one_that_takes_too_long_is_given_up(
    runner: asyncio.Runner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_maps, "SECONDS", 0.1)

    async def go() -> None:
        with pytest.raises(FreshMapError, match="longer than"):
            await pretending("time.sleep(600)").text(folder)

    runner.run(go())


def test_nothing_of_the_network_nor_of_the_workspace_is_used(
    runner: asyncio.Runner, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "dap_server").mkdir()
    (folder / "dap_server" / "__main__.py").write_text("raise SystemExit('code of the workspace')", encoding="utf-8")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    async def go() -> None:
        command = FreshMaps()._command
        assert command[1:] == ["-P", "-m", "dap_server", "map"]
        with pytest.raises(FreshMapError) as error:
            await FreshMaps([*command[:4], "no-such-command"]).text(folder)
        assert "code of the workspace" not in str(error.value)
        offline = pretending("print(os.environ.get('HF_HUB_OFFLINE'))")
        assert await offline.text(folder) == "1\n"
        assert await offline.text("org/name") == "None\n", "an id that somebody asked for may be looked up"
        with pytest.raises(FreshMapError, match="no name"):
            await offline.text("--trust-remote-code")

    runner.run(go())
