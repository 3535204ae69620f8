"""What a client is told of its breakpoints."""

from dap_server.adapter.breakpoints import Breakpoints
from dap_server.protocol.types import Breakpoint, ExceptionFilterOptions


def test_what_the_engine_tells_late_of_a_breakpoint_does_not_hide_what_is_wrong_with_its_new_condition() -> None:
    """The cost of a filter is told after a stop, when the client may have set another condition already."""
    breakpoints = Breakpoints()
    breakpoints.set_filters([ExceptionFilterOptions(filter_id="nonFinite", condition="nans > 3")])
    (pending,) = breakpoints.states
    told = Breakpoint(verified=True, id=pending.id, message="12 µs a token")
    breakpoints.settle([told])
    assert [state.message for state in breakpoints.states] == ["12 µs a token"]
    breakpoints.set_filters([ExceptionFilterOptions(filter_id="nonFinite", condition="cuont > 3")])
    breakpoints.settle([told])
    (wrong,) = breakpoints.states
    assert not wrong.verified
    assert "did you mean 'count'" in (wrong.message or "")
