"""Filters of anomalies, as they are typed, offered and shown, against an adapter that the test plays."""

from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from dap_server.conditions.filters import FILTERS
from dap_server.terminal.completion import DebuggerCompleter
from dap_server.terminal.script import run_to_end
from tests.terminal.stage import CAPABILITIES, Stage

KNOWN = [
    {
        "filter": filter.id,
        "label": filter.label,
        "description": filter.description,
        "default": filter.is_on,
        "supportsCondition": True,
    }
    for filter in FILTERS.values()
]
ABLE = {
    **CAPABILITIES,
    "exceptionBreakpointFilters": KNOWN,
    "supportsExceptionFilterOptions": True,
    "supportsExceptionInfoRequest": True,
}
DAMAGED = "a.b.weight has NaN at [3, 1], 1 of 12 values: the weights are damaged there"
INFO = {
    "exceptionId": "nonFinite",
    "breakMode": "always",
    "description": f"NaN in what a.b (Linear) returns in step 0: 6 of 12 values (token ' is'). {DAMAGED}",
    "details": {
        "innerException": [
            {"typeName": "parameter", "message": DAMAGED},
            {"typeName": "operation", "message": "aten::mm made it of an operand that is not finite itself"},
        ]
    },
}
COST = {"kind": "function", "places": 1, "judged": "at once", "evaluations": 4, "seconds": 0.001}


def _set(args: dict[str, Any]) -> dict[str, Any]:
    count = len(args["filters"]) + len(args.get("filterOptions") or ())
    return {"breakpoints": [{"verified": True, "id": 10 + i, "message": f"{i} places"} for i in range(count)]}


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.fake.on("initialize", lambda _: ABLE).on("setExceptionBreakpoints", _set).on("exceptionInfo", lambda _: INFO)
    return stage


def caught(stage: Stage) -> None:
    """What goes on next ends at the first filter."""
    stage.fake.on("next", lambda _: stage.fake.event("stopped", reason="exception", threadId=1, hitBreakpointIds=[10]))


def test_what_is_on_by_default_is_switched_on_behind_the_breakpoints(stopped: Stage) -> None:
    commands = [command for command, _ in stopped.fake.asked]
    assert commands.index("setFunctionBreakpoints") < commands.index("setExceptionBreakpoints")
    assert commands.index("setExceptionBreakpoints") < commands.index("configurationDone")
    assert stopped.fake.arguments_of("setExceptionBreakpoints") == {"filters": ["nonFinite", "forwardError"]}


def test_the_command_line_adds_filters_and_takes_some_away(stage: Stage) -> None:
    typed = ["off forwardError", "repetition,padding", "residual if growth > 10"]
    stage.debugger.start([], {"model": "m"}, typed)
    assert stage.fake.arguments_of("setExceptionBreakpoints") == {
        "filters": ["nonFinite", "repetition", "padding"],
        "filterOptions": [{"filterId": "residual", "condition": "growth > 10"}],
    }


@pytest.mark.parametrize(
    ("line", "filters", "options"),
    [
        ("catch residual", ["nonFinite", "forwardError", "residual"], {}),
        ("catch RESIDUAL, padding", ["nonFinite", "forwardError", "residual", "padding"], {}),
        ("catch nonFinite if nans > 3", ["forwardError"], {"nonFinite": "nans > 3"}),
        ("catch attention if collapsed > 0.5 and layer > 2", ["nonFinite", "forwardError"],
         {"attention": "collapsed > 0.5 and layer > 2"}),
        ("catch off nonFinite", ["forwardError"], {}),
        ("catch nonfinite off", ["forwardError"], {}),
        ("catch off", [], {}),
        ("catch all", list(FILTERS), {}),
    ],
)  # fmt: skip
def test_filters_are_switched_by_name(stopped: Stage, line: str, filters: list[str], options: dict[str, str]) -> None:
    stopped.play(line)
    asked = stopped.fake.arguments_of("setExceptionBreakpoints")
    assert asked["filters"] == sorted(filters, key=list(FILTERS).index)
    assert {each["filterId"]: each["condition"] for each in asked.get("filterOptions", ())} == options


def test_a_filter_without_a_condition_has_its_own_threshold_again(stopped: Stage) -> None:
    filter = FILTERS["lowConfidence"]
    line, below = stopped.play("catch lowConfidence if entropy > 9")
    assert line == f"● lowConfidence  {filter.description}"
    assert below.strip() == "if entropy > 9  2 places"
    assert stopped.play("catch lowConfidence")[1].strip() == f"if {filter.condition}  2 places"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("catch residul", "no filter 'residul'; did you mean 'residual'?"),
        ("catch xyz", "no filter 'xyz': 'catch' lists them"),
        ("catch residual if", "behind 'if' stands a condition"),
        ("catch residual padding if growth > 3", "a condition is one filter's"),
        ("catch if growth > 3", "a condition is one filter's"),
        ("catch off residual if growth > 3", "'off' takes no condition"),
        ("catch off residual", "none of them was on"),
        ("catch residual if growt > 3", "did you mean 'growth'"),
        ("catch residual if peak > 3", "it belongs to the filter 'nearOverflow' (column 1)"),
        ("delete nonFinite", "'nonFinite' is a filter: catch off nonFinite"),
        ("info", "no anomaly has stopped it here"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(stopped: Stage, line: str, says: str) -> None:
    (error,) = stopped.play(line)
    assert error.startswith("error: ")
    assert says in error
    assert stopped.debugger.filters.on == {"nonFinite": None, "forwardError": None}


def test_all_filters_are_listed_with_what_became_of_those_that_are_on(stopped: Stage) -> None:
    lines = stopped.play("catch")
    assert lines[:3] == [
        "● nonFinite        NaN or infinity in what a module returns, where it comes into being",
        f"                   if {FILTERS['nonFinite'].condition}  0 places",
        "● forwardError     an exception that a module's forward raises",
    ]
    assert any(line.startswith("○ repetition") for line in lines)
    changed = {"id": 10, "verified": True, "message": "84 places; judged once a step; 6 ms a token"}
    stopped.fake.event("breakpoint", reason="changed", breakpoint=changed)
    assert stopped.play("next", "breakpoints")[1:] == [
        "1  *.layers.3",
        "   catch nonFinite  84 places; judged once a step; 6 ms a token",
        "   catch forwardError  1 places",
    ]


def test_a_filter_that_cannot_be_placed_is_told(stopped: Stage) -> None:
    changed = {"id": 11, "verified": False, "message": "nothing here has a forward"}
    stopped.fake.event("breakpoint", reason="changed", breakpoint=changed)
    assert "catch forwardError: nothing here has a forward" in stopped.play("next")


def test_at_an_anomaly_it_says_what_it_is_and_the_way_back(stopped: Stage) -> None:
    caught(stopped)
    what = "NaN in what a.b (Linear) returns in step 0: 6 of 12 values (token ' is')"
    back = [
        f"  ← parameter {DAMAGED}",
        "  ← operation aten::mm made it of an operand that is not finite itself",
    ]
    assert stopped.play("next") == [
        "stopped before model.layers.3 · step 0 (prefill) · Non-finite values",
        *(what, *back),
    ]
    assert stopped.play("info") == [what, *back]


def test_a_traceback_is_shown_on_demand(stopped: Stage) -> None:
    caught(stopped)
    details = {"stackTrace": "Traceback (most recent call last):\n  File …\nValueError: no\n"}
    stopped.fake.on("exceptionInfo", lambda _: {**INFO, "description": "ValueError in a.b: no", "details": details})
    assert stopped.play("next")[1:] == ["ValueError in a.b: no"]
    trace = ["Traceback (most recent call last):", "  File …", "ValueError: no"]
    assert stopped.play("why") == ["ValueError in a.b: no", *trace]


def test_the_rest_of_a_run_passes_the_filters_too(stopped: Stage) -> None:
    run_to_end(stopped.debugger)
    assert stopped.fake.arguments_of("setExceptionBreakpoints") == {"filters": []}


@pytest.mark.parametrize(
    ("typed", "offers"),
    [
        ("catch re", ["residual", "repetition"]),
        ("catch o", ["off"]),
        ("catch off ", ["nonFinite", "forwardError"]),
        ("catch residual, rep", ["repetition"]),
        ("catch residual i", ["if"]),
        ("catch residual if g", ["growth"]),
        ("catch residual if growth > 3 and lay", ["layer"]),
        ("catch repetition if per", ["period"]),
    ],
)
def test_tab_offers_filters_and_the_names_of_their_conditions(stopped: Stage, typed: str, offers: list[str]) -> None:
    completions = DebuggerCompleter(stopped.debugger).get_completions(Document(typed), CompleteEvent())
    assert [completion.text for completion in completions] == offers


def test_costs_are_a_table_with_the_most_expensive_first(stopped: Stage) -> None:
    costs = [
        {**COST, "id": 1, "name": "*.layers.3", "perToken": 2e-5, "share": 0.004, "why": "`text` is on the host"},
        {**COST, "id": 10, "name": "Non-finite values", "kind": "exception", "places": 1084, "evaluations": 2168,
         "judged": "once a step", "seconds": 0.25, "perToken": 0.0123, "share": 0.31},
    ]  # fmt: skip
    stopped.fake.on("llm/breakpointCosts", lambda _: {"breakpoints": costs, "secondsPerToken": 0.0395})
    assert stopped.play("costs") == [
        "breakpoint       places  evaluated  a token  share  judged",
        "catch nonFinite   1,084      2,168  12.3 ms  31.0%  once a step",
        "*.layers.3            1          4    20 µs   0.4%  at once: `text` is on the host",
        "a token takes 39.5 ms, breakpoints and all",
    ]
    stopped.fake.on("llm/breakpointCosts", lambda _: {"breakpoints": []})
    assert stopped.play("costs") == ["no breakpoints"]
