import pytest

from dap_server.protocol.types import Scope, Variable
from dap_server.terminal import paths
from dap_server.terminal.paths import PathError

SCOPES = [
    Scope(name="Inputs", variables_reference=1, expensive=False),
    Scope(name="Returned", variables_reference=2, expensive=False),
    Scope(name="Tokens", variables_reference=3, expensive=False, named_variables=0, indexed_variables=50),
]


def variable(name: str, reference: int = 0, indexed: int | None = None) -> Variable:
    named = None if indexed is None else 1
    return Variable(
        name=name, value=f"<{name}>", variables_reference=reference, named_variables=named, indexed_variables=indexed
    )


NAMED = {
    1: [variable("hidden", 10, 3), variable("hidden_states", 11, 100), variable("mask")],
    2: [variable("model.layers.3", 12), variable("model", 10, 3)],
    3: [],
    10: [variable("shape")],
    11: [variable("shape")],
    12: [variable("weight")],
}
INDEXED = {3: 50, 10: 3, 11: 100}


def fetch(reference: int, filter: str | None = None, start: int = 0, count: int = 0) -> list[Variable]:
    """What an adapter does."""
    named = NAMED[reference] if filter != "indexed" else []
    total = INDEXED.get(reference, 0) if filter != "named" else 0
    end = min(start + count, total) if count else total
    return [*named, *(variable(f"[{i}]", 10, 3) for i in range(start, end))]


def found(path: str) -> str:
    return paths.find(path, SCOPES, fetch).path


def test_a_path_is_followed_level_by_level() -> None:
    assert found("Inputs.hidden_states[2].shape") == "Inputs.hidden_states[2].shape"
    assert found("Inputs.hidden[1]") == "Inputs.hidden[1]"


def test_names_may_hold_dots() -> None:
    assert found("Returned.model.layers.3.weight") == "Returned.model.layers.3.weight"


def test_the_scope_may_be_left_out_or_written_small() -> None:
    assert found("mask") == "Inputs.mask"
    assert found("inputs") == "Inputs"


def test_an_index_below_zero_counts_from_the_end() -> None:
    assert found("Tokens[-1]") == "Tokens[49]"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Nothing", "no variable 'Nothing' here; scopes: Inputs, Returned, Tokens"),
        ("Inputs.hiden", "no 'hiden' in Inputs; did you mean 'hidden' or 'hidden_states'?"),
        ("Inputs.hidden[3]", "Inputs.hidden has 3 elements, counted from 0"),
        ("Inputs.mask.x", "no 'x' in Inputs.mask"),
    ],
)
def test_what_is_not_there_is_an_error_with_what_is(path: str, text: str) -> None:
    with pytest.raises(PathError) as error:
        found(path)
    assert str(error.value) == text


def test_a_long_row_is_opened_in_pages_and_says_how_to_go_on() -> None:
    opened = paths.open_node(paths.find("Inputs.hidden_states", SCOPES, fetch), fetch)
    assert [variable.name for variable in opened.variables[:3]] == ["shape", "[0]", "[1]"]
    assert opened.more == "… 80 more: v Inputs.hidden_states[20:40]"


def test_a_slice_is_the_page_that_is_wanted() -> None:
    opened = paths.open_node(paths.find("Inputs.hidden_states[98:]", SCOPES, fetch), fetch)
    assert [variable.name for variable in opened.variables] == ["[98]", "[99]"]
    assert opened.more is None
    opened = paths.open_node(paths.find("Tokens[10:12]", SCOPES, fetch), fetch)
    assert [variable.name for variable in opened.variables] == ["[10]", "[11]"]


def test_what_has_no_children_opens_to_nothing() -> None:
    assert paths.open_node(paths.find("Inputs.mask", SCOPES, fetch), fetch) == ([], None)
