"""Writing a map and reading it back."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dap_server.modelmap.text import Header, MapLine, MapText, ModelMap, Problem, read_map, rounded_flops, write_map
from dap_server.modelmap.writing import read_flops, written_flops
from tests.modelmap.sample import sample_map

TEXT = write_map(sample_map())


def made_from(text: MapText) -> ModelMap:
    header = {name: getattr(text, name) for name in Header.__dataclass_fields__}
    return ModelMap(**header, lines=list(text.lines.values()), classes=text.classes)


def number_of(text: str, beginning: str) -> int:
    """The line that begins so."""
    return next(i for i, line in enumerate(text.splitlines(), 1) if line.strip().startswith(beginning))


def test_what_is_written_is_read_back() -> None:
    text = read_map(TEXT)
    assert not text.problems
    assert made_from(text) == sample_map()
    assert write_map(made_from(text)) == TEXT


def test_a_map_is_readable() -> None:
    lines = TEXT.splitlines()
    assert lines[0] == "# llm-dap map 1"
    assert "# parameters: 1,234,567" in lines
    assert f"{'      layers.0.mlp':25}Linear           (B, T, 8) → (B, T, 8)      617,000  1.23 MFLOP" in lines
    assert max(map(len, lines)) <= 120
    assert TEXT.endswith("\n")


def test_a_line_is_found_by_path_and_by_number() -> None:
    text = read_map(TEXT)
    number = number_of(TEXT, "layers.1.mlp")
    assert text.line_of("layers.1.mlp") == number
    line = text.at(number)
    assert line is not None
    assert (line.path, line.class_name, line.depth) == ("layers.1.mlp", "Linear", 3)
    assert text.at(1) is None
    assert text.line_of("layers.7") is None
    assert text.line_of("") == number_of(TEXT, ". ")


def test_columns_are_where_the_place_begins_and_the_line_ends() -> None:
    text = read_map(TEXT)
    number = number_of(TEXT, "layers.0.mlp")
    assert text.columns(number) == (7, len(TEXT.splitlines()[number - 1]) + 1)
    with pytest.raises(KeyError):
        text.columns(1)


def test_spans_are_where_the_fields_stand() -> None:
    text = read_map(TEXT.replace("1.23 MFLOP\n", "1.23 MFLOP   # mine\n", 1))
    number = number_of(TEXT, "layers.0 ")
    line = text.lines[number]
    written = (TEXT.splitlines()[number - 1] + "   # mine").ljust(200)
    found = {name: written[span.start - 1 : span.end - 1] for name, span in text.spans[number].items()}
    assert found == {
        "path": "layers.0", "class_name": "TinyLayer", "inputs": line.inputs, "output": line.output,
        "parameters": "617,000", "flops": "1.23 MFLOP", "comment": "# mine",
    }  # fmt: skip
    where, span = text.header["model"]
    assert TEXT.splitlines()[where - 1][span.start - 1 : span.end - 1] == "models/tiny"


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("blanks", ["  ", "\t", " \t ", " " * 9])
def test_ends_of_lines_and_blanks_do_not_matter(end: str, blanks: str) -> None:
    lines = [line if line.startswith("#") else blanks.join(line.split("  ")) for line in TEXT.splitlines()]
    text = read_map("\ufeff" + end.join(lines))
    assert not text.problems
    assert made_from(text) == sample_map()


def test_comments_blank_lines_and_indentation_do_not_matter() -> None:
    lines = [f"   {line}  # said of it, with  blanks # and more" if line and line[0] != "#" else line
             for line in TEXT.splitlines()]  # fmt: skip
    text = read_map("\n\n# a remark\n".join(lines))
    assert not text.problems
    assert made_from(text) == sample_map()


def test_a_line_of_a_path_alone_is_a_place() -> None:
    text = read_map("# llm-dap map 1\nmodel.layers.3\nsample\nTopKLogitsWarper\n.\n")
    assert not text.problems
    assert [line.kind for line in text.lines.values()] == ["module", "selection", "selection", "module"]
    assert text.lines[5].path == ""
    assert text.lines[5].place_name == "."


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("here is some prose", "this is no place"),
        ("  model..layers  Linear", "a name is missing beside a dot"),
        ("model.layers.0  Linear  12  13", "'13' is a second parameters"),
        ("<<<<<<< HEAD", "this is no place"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_columns(line: str, problem: str) -> None:
    text = read_map(f"# llm-dap map 1\nmodel  Linear\n{line}\nhead  Linear\n")
    (found,) = text.problems
    assert problem in found.message
    assert found.line == 3
    assert 1 <= found.column < found.end_column <= len(line) + 1
    assert text.line_of("model") == 2
    assert text.line_of("head") == 4


def test_a_place_that_stands_twice_counts_once() -> None:
    text = read_map("# llm-dap map 1\nhead  Linear\nhead  Conv1d\n")
    assert text.line_of("head") == 2
    assert text.problems == [Problem(3, 1, 5, "'head' stands on line 2 already, which is the one that counts")]


def test_a_text_that_is_no_map_says_so() -> None:
    assert "this is no model map" in read_map("import torch\n").problems[0].message
    assert "this is no model map" in read_map("").problems[0].message
    assert "newer llm-dap" in read_map("# llm-dap map 99\n").problems[0].message


def test_a_header_that_is_broken_is_a_problem_and_a_remark_is_none() -> None:
    text = read_map("# llm-dap map 1\n# parameters: many\n# author: me\nhead\n# model: not the header\n")
    assert [(p.line, p.column, p.end_column) for p in text.problems] == [(2, 15, 19)]
    assert text.model == ""


def test_what_is_not_called_says_what_to_do() -> None:
    by_path = {line.path: line for line in sample_map().lines}
    assert by_path["layers.0.mlp"].can_stop
    assert not by_path["layers.0.mlp"].why_not
    assert by_path["sample"].can_stop
    assert by_path["layers"].why_not == (
        "'layers' is a list of 2, not called itself: set the breakpoint on a line inside it"
    )
    assert "its weights are used" in by_path["layers.0.conv"].why_not


def test_odd_names_of_modules_survive() -> None:
    odd = ModelMap(class_name="Net", lines=[MapLine("a b.c#d.50%", "module", "Linear", parameters=1)])
    text = read_map(write_map(odd))
    assert not text.problems
    assert made_from(text) == odd


names = st.text(string.ascii_letters + string.digits + "_- #%/é", min_size=1, max_size=6)
shapes = st.sampled_from(["()", "(B, T)", "(B, T, 8)", "(8·B·T, 4)"])


@st.composite
def map_lines(draw: st.DrawFn) -> MapLine:
    path = ".".join(draw(st.lists(names, max_size=4)))
    parameters = draw(st.none() | st.integers(0, 10**13))
    match draw(st.integers(0, 3)):
        case 0:
            note = draw(st.sampled_from(["", "its weight is that of embed"]))
            flops = draw(st.none() | st.floats(0, 10**15).map(rounded_flops))
            return MapLine(path, "module", "Linear", draw(shapes), draw(shapes), parameters, flops, note)
        case 1:
            return MapLine(path, "list", "ModuleList", parameters=parameters, note="a list of 7, not called itself")
        case 2:
            return MapLine(path, "unused", "Conv1d", parameters=parameters, note="not called")
        case _:
            return MapLine(path or "x", "selection", note="with temperature")


@given(st.lists(map_lines(), unique_by=lambda line: line.path))
def test_every_map_is_read_back_exactly(lines: list[MapLine]) -> None:
    model_map = ModelMap(model="m", class_name="Net", parameters=7, lines=lines, classes={"Linear": "torch.nn"})
    text = read_map(write_map(model_map))
    assert not text.problems
    assert made_from(text) == model_map


@given(st.text(max_size=400), st.integers(0, len(TEXT)))
def test_no_text_makes_reading_fail(noise: str, at: int) -> None:
    text = read_map(TEXT[:at] + noise + TEXT[at:])
    lines = text.lengths
    for problem in text.problems:
        assert 1 <= problem.column <= problem.end_column <= lines[problem.line - 1] + 1


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 FLOP"), (999, "999 FLOP"), (73_728, "73.7 kFLOP"), (999_999, "1.00 MFLOP"), (811_000_000_000, "811 GFLOP")],
)
def test_operations_have_three_digits(count: int, written: str) -> None:
    assert written_flops(count) == written
    assert read_flops(written) == rounded_flops(count)
