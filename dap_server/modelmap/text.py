"""The model map as text: what the other packages use of it, under one name."""

from dap_server.modelmap.comparing import differences, moves
from dap_server.modelmap.model_map import Header, Kind, MapLine, MapText, ModelMap, Problem, Span
from dap_server.modelmap.paths import SUFFIX
from dap_server.modelmap.reading import read_map
from dap_server.modelmap.updating import update
from dap_server.modelmap.writing import rounded_flops, write_map, written_flops, written_path

__all__ = [
    "SUFFIX", "Header", "Kind", "MapLine", "MapText", "ModelMap", "Problem", "Span",
    "differences", "moves", "read_map", "rounded_flops", "update", "write_map", "written_flops", "written_path",
]  # fmt: skip
