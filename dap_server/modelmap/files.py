"""Maps as files: where they are, and what they say now."""

from __future__ import annotations

import os

from dap_server.modelmap.model_map import MapText
from dap_server.modelmap.reading import read_map


class UnreadableMap(ValueError):
    """There is no such map, or it is no text; the message says why."""


class MapFile:
    """A map on disk.

    Attributes:
        path: absolute, as it was given otherwise: editors compare paths by their text.
        text: what it said when it was last read.
    """

    def __init__(self, path: str) -> None:
        """Raises UnreadableMap."""
        self.path = os.path.abspath(path)
        self._version = (0, 0)
        self.text = MapText()
        self.refresh()

    def refresh(self) -> None:
        """Reads it again if it has changed. Raises UnreadableMap, and keeps what it said before."""
        try:
            status = os.stat(self.path)
            version = (status.st_mtime_ns, status.st_size)
            if version != self._version:
                with open(self.path, encoding="utf-8") as file:
                    self.text = read_map(file.read())
                self._version = version
        except OSError as error:
            raise UnreadableMap(f"{self.path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise UnreadableMap(f"{self.path} is no model map: it is not text in UTF-8") from None


class MapFiles:
    """Maps that are asked for again and again, each read once for every change."""

    def __init__(self) -> None:
        self._files: dict[str, MapFile] = {}

    def read(self, path: str) -> MapText:
        """Raises UnreadableMap."""
        if path in self._files:
            self._files[path].refresh()
        else:
            self._files[path] = MapFile(path)
        return self._files[path].text
