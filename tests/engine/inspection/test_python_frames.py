"""Python frames of a stop: which are shown, among the frames of a model, and what is seen in them."""

from __future__ import annotations

import json
import textwrap
import threading
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dap_server.engine.execution.stepping import Stop
from dap_server.engine.inspection.frames import Frame
from dap_server.engine.inspection.hovering import EvaluationError
from dap_server.engine.inspection.python_frames import below_debugger, is_library, is_ours
from tests.engine.inspection.at_a_line import Lines

GLOBAL = 3


def test_a_stop_without_any_model_has_the_frames_of_the_program_and_nothing_else() -> None:
    lines, seen = Lines(), list[Frame]()
    lines.look = lambda stop: seen.extend(lines.stack(stop))

    def prepare(path: str) -> None:
        lines.here()

    prepare("data.txt")
    frame = seen[0]
    assert frame.kind == "python"
    assert frame.name.endswith("<locals>.prepare")
    assert not frame.is_subtle
    assert frame.source is not None
    assert frame.source.path == __file__
    assert seen[1].name == test_a_stop_without_any_model_has_the_frames_of_the_program_and_nothing_else.__name__
    assert {one.kind for one in seen} == {"python"}
    assert [scope.name for scope in lines.scopes.of(frame)] == ["Locals", "Globals"]
    assert lines.rows(frame)["path"].value == "'data.txt'"


class Gate(nn.Module):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.lines, self.up = [lines], nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return helper(self.up(x), self)


class Net(nn.Module):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self.gate = Gate(lines)

    def forward(self, x: Tensor) -> Tensor:
        return through(self.gate, x)


def helper(x: Tensor, gate: Gate) -> Tensor:
    gate.lines[0].here()
    return x


def through(module: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = module(x)
    return result


def run_net() -> tuple[Lines, list[Frame], Stop]:
    lines = Lines()
    net = Net(lines)
    seen: list[Frame] = []
    known = Lines(net)
    lines.look = lambda stop: seen.extend(known.stack(known.stop_at(stop.python)))  # type: ignore[arg-type]
    net(torch.ones(2, 4))
    return known, seen, lines.stops[0]


def test_helpers_stand_above_the_module_that_calls_them_and_library_code_between_modules_is_left_out() -> None:
    _, seen, _ = run_net()
    assert [(frame.kind, frame.name) for frame in seen[:8]] == [
        ("python", "helper"),
        ("module", "gate"),
        ("forward", "Gate.forward"),
        ("python", "through"),
        ("module", "Net"),
        ("forward", "Net.forward"),
        ("step", "step 0 (prefill)"),
        ("python", "run_net"),
    ]
    assert not seen[0].is_subtle


def test_a_line_of_forward_stands_above_its_module() -> None:
    class Direct(nn.Module):
        def __init__(self, lines: Lines) -> None:
            super().__init__()
            self.lines, self.up = [lines], nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.up(x)
            self.lines[0].here()
            return y

    lines = Lines()
    model = Direct(lines)
    known = Lines(model)

    def look(stop: Stop) -> None:
        stack = known.stack(known.stop_at(stop.python))  # type: ignore[arg-type]
        forward, module = stack[:2]
        assert (forward.kind, module.kind, module.name) == ("forward", "module", "Direct")
        assert [scope.name for scope in known.scopes.of(forward)] == ["Locals", "Globals"]
        assert known.rows(forward)["y"].value.startswith("float32 [2, 4]")
        assert known.evaluator.evaluate("nn.Linear", forward) is nn.Linear, "a name of the file"
        known.evaluator.evaluate("y = torch.zeros(2, 4)", forward)

    lines.look = look
    assert model(torch.ones(2, 4)).abs().sum() == 0, "the run has the value that was assigned"


def test_with_all_code_the_frames_of_libraries_are_there_too_and_none_of_ours() -> None:
    def frames(just_my_code: bool) -> list[Frame]:
        lines, seen = Lines(just_my_code=just_my_code), list[Frame]()
        lines.look = lambda stop: seen.extend(lines.stack(stop))

        def hook(_pairs: object) -> None:
            lines.here()

        def called_by_a_library() -> None:
            json.loads('{"a": 1}', object_pairs_hook=hook)

        thread = threading.Thread(target=called_by_a_library)
        thread.start()
        thread.join()
        return seen

    own, every = frames(True), frames(False)
    names = [frame.name for frame in own]
    assert names.index("loads") == len(names) - 2
    assert names[-1].endswith("called_by_a_library")
    assert [frame.is_subtle for frame in own if frame.name == "loads"] == [True]
    assert not any(frame.is_subtle for frame in every)
    assert len(every) > len(own), "what nobody of the user's has called is left out: the bottom of a thread"


def test_files_know_whose_they_are(tmp_path: Any) -> None:
    assert is_ours(Lines.__init__.__globals__["CallStack"].__init__.__code__.co_filename)
    assert is_ours("/x/site-packages/debugpy/_vendored/pydevd/pydevd.py")
    assert is_ours("/x/lib/_pydevd_bundle/y.py")
    assert is_library(nn.__file__)
    assert is_library(textwrap.__file__)
    assert is_library("<frozen runpy>")
    assert not is_library(str(tmp_path / "train.py"))
    assert not is_library("<ipython-input-1>")
    assert not is_ours(__file__)


def test_the_frame_that_a_python_debugger_has_suspended_is_found_below_it() -> None:
    namespace: dict[str, Any] = {"below": below_debugger}
    source = "import sys\ndef suspend(look):\n    return look()\n"
    exec(compile(source, "/x/debugpy/_vendored/pydevd/pydevd.py", "exec"), namespace)

    def suspended() -> Any:
        return namespace["suspend"](lambda: below_debugger(__import__("sys")._getframe()))

    assert suspended().f_code is suspended.__code__


def test_locals_are_rows_as_everywhere_else() -> None:
    class Raises:
        def __repr__(self) -> str:
            raise ValueError("do not look")

    lines, seen = Lines(), dict[str, Any]()

    def look(stop: Stop) -> None:
        frame = lines.stack(stop)[0]
        seen.update(lines.rows(frame))
        seen["globals"] = lines.rows(frame, "Globals")

    lines.look = look

    def work() -> None:
        tensor, model = torch.arange(6.0).reshape(2, 3), nn.Linear(2, 2)
        many, table, words = list(range(100_000)), {f"k{i}": i for i in range(100_000)}, {"a"}
        queue, long, raises = deque([1, 2]), "x" * 10_000_000, Raises()
        huge = torch.empty(10**9, device="meta")
        lines.here()
        del tensor, model, many, table, words, queue, long, raises, huge

    work()
    assert seen["tensor"].value.startswith("float32 [2, 3]")
    assert seen["tensor"].expression == "tensor"
    assert seen["model"].value == "Linear · 6 parameters"
    assert seen["many"].children.indexed == seen["table"].children.indexed == 100_000
    assert [row.name for row in seen["table"].children.indexed_rows(99_998, 5)] == ["k99998", "k99999"]
    assert seen["table"].children.indexed_rows(7, 1)[0].expression == "table['k7']"
    assert [row.value for row in seen["words"].children.indexed_rows(0, 9)] == ["'a'"]
    assert seen["queue"].value == "deque of 2"
    assert len(seen["long"].value) == 200
    assert seen["raises"].value == "<ValueError: do not look>"
    assert seen["huge"].value.startswith("float32 [1000000000]")
    assert list(seen["globals"])[-4:] == [
        "special variables",
        "function variables",
        "class variables",
        "module variables",
    ]
    assert seen["globals"]["GLOBAL"].value == "3"
    assert "helper" not in seen["globals"]
    grouped = [row.name for row in seen["globals"]["function variables"].children.named_rows()]
    assert "helper" in grouped
    assert "__name__" not in grouped


def test_names_of_the_frame_hide_ours_and_those_of_the_file() -> None:
    lines = Lines(nn.Sequential(nn.Linear(2, 2)))

    def look(stop: Stop) -> None:
        frame = lines.stack(stop)[0]
        ask = lines.evaluator
        assert ask.evaluate("model", frame) == "mine" == ask.hover("model", frame)
        assert ask.evaluate("GLOBAL + local", frame) == 103
        assert ask.evaluate("[local + i for i in range(2)]", frame) == [100, 101]
        assert ask.evaluate("input", frame) is input, "a built-in function is not hidden by a name of ours"
        assert "local" in ask.completions("lo", frame)
        assert "GLOBAL" in ask.completions("GL", frame)
        assert "append" in ask.completions("items.app", frame)
        with pytest.raises(EvaluationError, match="no name 'nothing'"):
            ask.hover("nothing", frame)
        with pytest.raises(EvaluationError, match="did you mean 'local'"):
            ask.evaluate("loca", frame)

    lines.look = look

    def work() -> None:
        model, local, items = "mine", 100, [1]
        lines.here()
        del model, local, items

    work()
    assert len(lines.stops) == 1


def test_assignments_reach_the_frame() -> None:
    lines = Lines()

    def look(stop: Stop) -> None:
        inner, outer = lines.stack(stop)[:2]
        assign = lines.evaluator.assign
        assert assign("count", "count + 1", inner) == "6"
        assert assign("shared", "'cell'", inner) == "'cell'"
        assert assign("items[0]", "[1, 2]", inner) == "[1, 2]"
        assert assign("tensor[0, 1]", "nan", inner).startswith("nan ")
        assert assign("argument", "argument.upper()", outer) == "'HERE'"
        lines.evaluator.evaluate("late = count * 2", inner)
        lines.evaluator.evaluate("count += 1; made_up = 5", inner)
        assert lines.evaluator.evaluate("made_up + count", inner) == 12, "a name that is not the frame's is ours"
        with pytest.raises(EvaluationError, match="cannot assign"):
            assign("1", "2", inner)
        with pytest.raises(EvaluationError, match="did you mean 'count'"):
            assign("count", "coun", inner)

    lines.look = look
    seen: list[Any] = []

    def work(argument: str) -> None:
        shared = "old"

        def inside() -> None:
            nonlocal shared
            count, items, tensor = 5, [0], torch.zeros(2, 2)
            lines.here()
            seen.extend([count, items, tensor[0, 1].isnan().item()])

        inside()
        seen.extend([shared, argument])

    work("here")
    assert seen == [7, [[1, 2]], True, "cell", "HERE"]


def test_at_the_level_of_a_file_a_new_name_is_one_of_the_file() -> None:
    lines = Lines()
    module = types.ModuleType("__main__")
    module.lines = lines  # type: ignore[attr-defined]
    lines.look = lambda stop: lines.evaluator.evaluate("made = size * 2", lines.stack(stop)[0])
    exec(compile("size = 4\nlines.here()\nresult = made + 1\n", "/home/someone/train.py", "exec"), vars(module))
    assert module.result == 9
    assert lines.stops[0].python is not None


def test_a_generator_and_a_class_that_is_defined_are_frames_too() -> None:
    lines = Lines()

    def look(stop: Stop) -> None:
        frame = lines.stack(stop)[0]
        name = next(name for name in ("step", "depth") if name in lines.rows(frame))
        lines.evaluator.assign(name, "41 + 1", frame)

    lines.look = look

    def count() -> Iterator[int]:
        step = 1
        lines.here()
        yield step

    class Config:
        depth = 1
        lines.here()

    assert list(count()) == [42]
    assert Config.depth == 42


def test_a_name_of_a_file_that_a_local_one_hides_is_shown_and_not_taken_for_it() -> None:
    lines, rows = Lines(), dict[str, Any]()
    lines.look = lambda stop: rows.update(lines.rows(lines.stack(stop)[0], "Globals"))

    def work(GLOBAL: int) -> None:
        lines.here()

    work(8)
    assert rows["GLOBAL"].value == "3"
    assert rows["GLOBAL"].expression is None


def test_looking_asks_no_property_and_leaves_the_random_state() -> None:
    class Trap:
        @property
        def spring(self) -> int:
            raise AssertionError("it ran")

    lines = Lines()

    def look(stop: Stop) -> None:
        frame = lines.stack(stop)[0]
        row = lines.rows(frame)["trap"]
        assert row.children is not None
        row.children.named_rows()
        lines.evaluator.evaluate("torch.rand(3)", frame)

    lines.look = look

    def work() -> float:
        trap = Trap()
        lines.here()
        del trap
        return torch.rand(()).item()

    torch.manual_seed(3)
    got = work()
    torch.manual_seed(3)
    assert got == torch.rand(()).item()


def test_another_thread_has_a_stack_of_its_own() -> None:
    lines, seen = Lines(), list[Frame]()
    lines.look = lambda stop: seen.extend(lines.stack(stop))

    def worker() -> None:
        lines.here()

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join()
    assert [frame.name.rpartition(".")[2] for frame in seen] == ["worker"], "how threads begin is left out"
