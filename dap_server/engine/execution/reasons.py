"""Why a run stops, in DAP's words. Imports no torch: a session names them before that is there."""

from __future__ import annotations

HIT = "function breakpoint"
INSTRUCTION_HIT = "instruction breakpoint"
LINE_HIT = "breakpoint"
DATA_HIT = "data breakpoint"
RAISED = "exception"
