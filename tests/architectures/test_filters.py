"""The filters that are on by themselves, on every architecture: silent where nothing is wrong, exact where it is."""

from __future__ import annotations

import pytest

from tests.architectures.armed import Armed, How
from tests.architectures.test_every_architecture import SAMPLE
from tests.conftest import Report
from tests.engine.execution.straight import same
from tests.models.cases import cases
from tests.models.tiny import Task

MASKS_NAN: dict[tuple[Task, str], str] = {
    ("causal", "cpmant"): "a softmax over nothing in rows of padding, which the module around it sets to zero",
}
"""Types with modules that return NaN, in a padded batch, which nothing else ever sees; and where it comes from."""

NO_BEAMS = dict.fromkeys([("causal", "rwkv"), ("causal", "xlstm")], "the cache cannot be reordered")
"""Types that refuse beam search, and why."""

_told: dict[str, int] = {}


def _ways(task: Task, name: str, *ways: How) -> list[How]:
    if task not in ("causal", "seq2seq"):
        return ["forward"]
    return [how for how in ways if how != "beams" or (task, name) not in NO_BEAMS]


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize("batch", [1, 2], ids=["one prompt", "left-padded batch"])
@pytest.mark.parametrize(("task", "name"), cases(SAMPLE, pytest.mark.architectures))
def test_a_healthy_run_is_not_disturbed(task: Task, name: str, batch: int) -> None:
    armed = Armed(task, name, batch)
    ways = _ways(task, name, "greedy", "sampled", "beams")
    armed.plain(ways[0])  # some models settle in their first run
    for how in ways:
        expected = armed.plain(how)
        walk, actual, again = armed.undisturbed(how)
        assert same(actual, expected), how
        assert walk.stops == []
        assert bool(again) is (batch > 1 and (task, name) in MASKS_NAN), f"{how}: steps {again} ran again"
        assert set(again) <= {0}, "it learns in the first step what it does not have to listen to"
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in armed.model.modules())
        _count("healthy runs, undisturbed" if not again else "healthy runs, of which one step was looked at again")


@pytest.mark.filterwarnings("ignore")  # of transformers, about its own models
@pytest.mark.parametrize(("task", "name"), cases(SAMPLE, pytest.mark.architectures))
def test_nan_in_one_weight_of_the_last_layer_is_found_where_it_comes_in(task: Task, name: str) -> None:
    armed = Armed(task, name)
    paths = armed.of_last_layers()
    assert paths
    for how in _ways(task, name, "greedy", "beams", "forward"):
        for path in paths:
            with armed.damaged(path) as weight:
                born, stopped = armed.born_in(how), armed.stopped_in(how)
            assert stopped == born, f"{how}: NaN in a weight of {path}"
            if born is None:
                _count("weights that their model did not use")
                continue
            _count("NaN in a weight: found in the module that uses it")
            users = armed.anatomy.modules[born].parameters()
            assert any(parameter is weight for parameter in users), f"{how}: a weight of {path} is used by {born}"


def _count(what: str) -> None:
    _told[what] = _told.get(what, 0) + 1


def test_what_was_found_is_told(report: Report) -> None:
    report("filters on every architecture", [f"{count:6,}  {what}" for what, count in sorted(_told.items())])
