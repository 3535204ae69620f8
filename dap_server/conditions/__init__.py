"""Conditions, hit conditions and log messages of breakpoints: read and checked before a model is there."""

from dap_server.conditions.completion import Completion, complete
from dap_server.conditions.data_ids import DataId, DataIdError, WatchKind, parse_data_id
from dap_server.conditions.deferred.deferring import Logic, why_at_once
from dap_server.conditions.diagnosis import diagnose
from dap_server.conditions.errors import ConditionError, Problem, TextKind
from dap_server.conditions.expressions import Condition, parse_condition
from dap_server.conditions.filters import FILTERS, Filter
from dap_server.conditions.hits import HitCondition, parse_hit_condition
from dap_server.conditions.log_messages import LogMessage, parse_log_message
from dap_server.conditions.names import BUILTINS, NAMES, FilterId, Name, PlaceKind, place_of
from dap_server.conditions.phases import check

__all__ = [
    "BUILTINS",
    "FILTERS",
    "NAMES",
    "Completion",
    "Condition",
    "ConditionError",
    "DataId",
    "DataIdError",
    "Filter",
    "FilterId",
    "HitCondition",
    "LogMessage",
    "Logic",
    "Name",
    "PlaceKind",
    "Problem",
    "TextKind",
    "WatchKind",
    "check",
    "complete",
    "diagnose",
    "parse_condition",
    "parse_data_id",
    "parse_hit_condition",
    "parse_log_message",
    "place_of",
    "why_at_once",
]
