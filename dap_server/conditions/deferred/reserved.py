"""What the compiled code of conditions calls the things that no text can name."""

from __future__ import annotations

FILE = "<condition>"
"""The file that the code comes from."""

PLACE = ".place"
"""The variable that has the names' values."""

LOGIC = ".logic"
"""The variable that has `and`, `or` and `not` of deferred code."""
