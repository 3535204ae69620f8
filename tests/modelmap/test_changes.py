"""Two maps side by side, and making one anew."""

from __future__ import annotations

from dap_server.modelmap.text import MapLine, ModelMap, differences, moves, read_map, update, write_map
from tests.modelmap.sample import sample_map
from tests.modelmap.test_text import number_of

TEXT = write_map(sample_map())


def larger() -> ModelMap:
    """The sample with a third layer, without `conv`."""
    other = sample_map()
    other.lines = [line for line in other.lines if line.path != "layers.0.conv"]
    at = next(i for i, line in enumerate(other.lines) if line.path == "head")
    third = [MapLine("layers.2", "module", "TinyLayer"), MapLine("layers.2.mlp", "module", "Linear")]
    other.lines[at:at] = third
    return other


def test_a_map_fits_the_model_that_it_was_made_of() -> None:
    assert not differences(read_map(TEXT), sample_map())


def test_what_does_not_fit_is_told_at_its_field() -> None:
    text = TEXT.replace("layers.1.mlp", "layers.1.mpl").replace(" 617,000", " 617,001", 1)
    text = text.replace("Linear           (B, T, 8) → (B, T, 8)", "Conv1d           (B, T, 9) → (B, T, 8)", 1)
    found = differences(read_map(text), sample_map())
    lines = text.splitlines()
    told = {(p.line, lines[p.line - 1][p.column - 1 : p.end_column - 1]): p.message for p in found}
    layer, inner, wrong = (number_of(text, name) for name in ("layers.0 ", "layers.0.mlp", "layers.1.mpl"))
    assert told == {
        (layer, "617,001"): "'layers.0' has 617,000 parameters in the model",
        (inner, "Conv1d"): "'layers.0.mlp' is a Linear in the model",
        (inner, "(B, T, 9)"): "'layers.0.mlp' is given (B, T, 8) in the model",
        (wrong, "layers.1.mpl"): "the model has no 'layers.1.mpl'; did you mean 'layers.1.mlp'?",
        (wrong - 1, "layers.1"): "'layers.1.mlp' is missing in this map",
    }


def test_what_is_missing_is_told_once_at_the_module_around_it() -> None:
    found = differences(read_map(TEXT), larger())
    assert [(p.line, p.message) for p in found] == [
        (number_of(TEXT, "layers "), "'layers.2' and the place inside it are missing in this map"),
        (number_of(TEXT, "layers.0.conv"), "the model has no 'layers.0.conv'"),
    ]


def test_the_map_of_another_class_says_so_in_its_header() -> None:
    other = sample_map()
    other.class_name = "TinyForMaskedLM"
    other.lines[1] = other.lines[1]._replace(class_name="TinyForMaskedLM")
    found = differences(read_map(TEXT), other)
    assert found[0].message == "this is the map of a TinyForCausalLM; the model is a TinyForMaskedLM"
    assert TEXT.splitlines()[found[0].line - 1] == "# class: TinyForCausalLM"


def test_a_shortened_map_without_shapes_fits() -> None:
    text = read_map("# llm-dap map 1\n" + "\n".join(line.place_name for line in sample_map().lines))
    found = differences(text, sample_map())
    assert [p.message for p in found] == [line.why_not for line in sample_map().lines if not line.can_stop]


def test_lines_move_by_path() -> None:
    old, new = read_map(TEXT), read_map("# a line more\n" + write_map(larger()))
    moved = moves(old, new)
    for line, number in moved.items():
        assert old.lines[line].path == new.lines[number].path
    conv, head = number_of(TEXT, "layers.0.conv"), number_of(TEXT, "head")
    assert conv not in moved
    assert moved[head] == head + 2
    assert len(moved) == len(old.lines) - 1


def test_an_update_for_the_same_model_changes_nothing() -> None:
    assert update(TEXT, sample_map()) == TEXT
    assert update(TEXT.replace("\n", "\r\n"), sample_map()) == TEXT.replace("\n", "\r\n")


def commented() -> str:
    lines = TEXT.splitlines()
    lines.insert(number_of(TEXT, "head") - 1, "# the head looks at everything\n# model: two lines of it")
    text = "\n".join(lines) + "\n"
    for name in ("layers.1.mlp", "layers.0.conv"):
        line = text.splitlines()[number_of(text, name) - 1]
        text = text.replace(line, f"{line}  # look at {name}")
    return text.replace("\n\n# classes", "\n# the end of it\n\n# classes").replace("# task", "# checked by me\n# task")


def test_an_update_keeps_comments_beside_their_lines() -> None:
    text = commented()
    assert update(text, sample_map()).count("#") == text.count("#")
    updated = update(text, larger())
    lines = updated.splitlines()
    assert lines[number_of(updated, "layers.1.mlp") - 1].endswith("  # look at layers.1.mlp")
    head = number_of(updated, "head")
    assert lines[head - 3 : head - 1] == ["# the head looks at everything", "# model: two lines of it"]
    assert lines[number_of(updated, "step") - 2] == "# checked by me"
    table = number_of(updated, "# classes")
    assert lines[table - 4 : table - 1] == ["# was beside layers.0.conv: look at layers.0.conv", "# the end of it", ""]
    assert not read_map(updated).problems
    assert not differences(read_map(updated), larger())


def test_a_second_update_changes_nothing_more() -> None:
    once = update(commented(), larger())
    assert update(once, larger()) == once


def test_an_update_loses_nothing_that_a_person_wrote() -> None:
    text = update(TEXT.replace("\nstep", "\nremember to look here\nstep") + "# the last word\n", sample_map())
    lines = text.splitlines()
    assert lines[number_of(text, "step") - 2] == "# remember to look here"
    assert "# the last word" in lines
    assert not read_map(text).problems
