"""Changing a run over the wire, on the example model; edits against the same made by hooks of plain transformers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.e2e.conftest import Run, Spawn
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, text, to_the_end

FRANCE, JAPAN = "The capital of France is", "The capital of Japan is"
SHORT = {"max_new_tokens": 8, "min_new_tokens": 8}
LAYER = "model.layers.1"


@contextmanager
def hooked(plain: Plain, path: str, change: Callable[[Tensor, int], Tensor]) -> Iterator[None]:
    """What a module returns is changed; `change` is told the step."""
    steps = iter(range(1000))

    def hook(_module: Any, _args: Any, output: Any) -> Any:
        step = next(steps)
        return change(output, step) if isinstance(output, Tensor) else (change(output[0], step), *output[1:])

    handle = plain.model.get_submodule(path).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def edited(client: RawClient, line: str) -> Json:
    """Writes a line in the console, and waits for where the run stands then."""
    body = client.ask("evaluate", expression=line, context="repl")
    assert body["presentationHint"] == {"attributes": ["hasSideEffects"]}
    return client.stop()


def test_a_fact_of_another_prompt_is_patched_in(run: Run, plain: Plain) -> None:
    """At "France", behind an early layer: the same as by a hook with the values of the other prompt."""
    value = plain.output_of(LAYER, JAPAN)

    def change(output: Tensor, step: int) -> Tensor:
        output = output.clone()
        if step == 0:
            output[:, 4] = value[:, 4]
        return output

    with hooked(plain, LAYER, change):
        (expected,) = plain.texts(FRANCE, **SHORT)
    assert expected.startswith("The capital of France is Tokyo.")

    client = run(f"after:{LAYER}", prompt=FRANCE, generation=SHORT)
    client.stop()
    stop = edited(client, f"patch(1, prompt={JAPAN!r}, positions=' France')")
    assert stop["reason"] == "goto"
    patched = f"patch output of {LAYER} at position 4 from '{JAPAN}', position 4"
    assert stop["description"] == f"edited: {patched}, all steps: after {LAYER} in step 0"
    shown = client.ask("llm/tensor", expression="output[0, 4]", statistics=True)["statistics"]
    assert shown["norm"] == pytest.approx(float(value[0, 4].double().norm()), rel=1e-6)
    assert to_the_end(client) == expected


def test_an_element_is_given_another_value_in_the_variables_view(run: Run, plain: Plain) -> None:
    def change(output: Tensor, step: int) -> Tensor:
        output = output.clone()
        if step == 0:
            output[0, 5, 7] = 400.5
        return output

    options = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
    with hooked(plain, LAYER, change):
        expected = plain.generate(FRANCE, **options).logits[0][0]

    client = run(f"after:{LAYER}", prompt=FRANCE, generation={"max_new_tokens": 1})
    client.stop()
    row = client.open(client.open(client.scope("Output")["output"])["[0]"])["[5]"]
    body = client.ask("setVariable", variablesReference=row["variablesReference"], name="[7]", value="400 + 0.5")
    assert body["value"] == "400 + 0.5"
    assert (
        client.stop()["description"] == f"edited: output of {LAYER}[0, 5, 7] = 400.5, step 0: after {LAYER} in step 0"
    )
    row = client.open(client.open(client.scope("Output")["output"])["[0]"])["[5]"]
    assert client.open(row)["[7]"]["value"] == "400.5"
    client.break_at("sample")
    client.move("continue")
    assert client.evaluate("logits[0, :4].tolist()", context="watch") == str(expected[:4].tolist())


def test_a_weight_is_changed_and_comes_back_to_the_last_bit(run: Run) -> None:
    name = "model.model.layers[0].mlp.down_proj.weight"
    client = run(LAYER, prompt=FRANCE, generation=SHORT)
    client.stop()
    first = client.evaluate(f"{name}[3, :4].tolist()", context="watch")
    total = client.evaluate(f"{name}.double().sum().item()", context="watch")
    answer = client.ask("setExpression", expression=f"{name}[3, 1]", value="0.25")
    assert answer["value"] == "0.25"
    assert client.stop()["description"].startswith("edited: model.layers.0.mlp.down_proj.weight[3, 1] = 0.25")
    assert client.evaluate(f"{name}[3, 1].item()", context="watch") == "0.25"
    (edit,) = client.ask("llm/edits")["edits"]
    assert edit["spec"]["target"] == {
        "kind": "parameter",
        "name": "model.layers.0.mlp.down_proj.weight",
        "index": "[3, 1]",
    }
    edited(client, f"{name} *= 2")
    assert client.evaluate(f"{name}[3, 1].item()", context="watch") == "0.5"
    client.ask("llm/undoEdit", all=True)
    client.stop()
    assert client.evaluate(f"{name}[3, :4].tolist()", context="watch") == first
    assert client.evaluate(f"{name}.double().sum().item()", context="watch") == total


def test_a_forced_token_begins_a_branch_and_the_first_one_is_kept(run: Run, plain: Plain) -> None:
    (straight,) = plain.texts(FRANCE, **SHORT)
    client = run(prompt=FRANCE, generation=SHORT)
    assert client.stop()["description"] == "generation finished"
    before = client.ask("llm/branches")["branches"]
    assert [(b["id"], b["isPresent"], b["steps"]) for b in before] == [(1, True, 8)]
    client.ask("llm/runToStep", step=3, path="sample")
    client.stop()
    row = client.scope("Sampling")["token"]
    assert row["value"] == repr(before[0]["tokens"][3]["text"])
    reference = client.scopes()["Sampling"]["variablesReference"]
    assert client.ask("setVariable", variablesReference=reference, name="token", value="' capital'")["value"]
    assert client.stop()["reason"] == "goto"
    assert client.scope("Sampling")["token"]["value"] == "' capital'"
    forced = to_the_end(client)
    assert forced != straight
    one, two = client.ask("llm/branches")["branches"]
    assert (one["isPresent"], two["isPresent"], two["parent"], two["forkStep"]) == (False, True, 1, 3)
    assert two["tokens"][0]["text"] == " capital"
    assert one["tokens"] == before[0]["tokens"]
    client.ask("llm/nameBranch", id=2, name="another capital")
    told = client.ask("llm/switchBranch", id=1)["branches"]
    assert [(b["name"], b["isPresent"]) for b in told] == [("branch 1", True), ("another capital", False)]
    client.stop()
    assert to_the_end(client) == straight
    assert client.ask("llm/branches")["branches"][0]["tokens"] == before[0]["tokens"]
    for id, name in ((2, "another capital"), (1, "branch 1")):
        client.ask("llm/switchBranch", id=id)
        assert client.stop()["description"] == f"switched to {name}: end of the generation"
    client.ask("llm/deleteBranch", id=2)
    with pytest.raises(Refused, match="there is no branch 2") as refused:
        client.ask("llm/switchBranch", id=2)
    assert refused.value.id == 58


def test_an_edit_in_the_history_begins_a_branch_there(run: Run) -> None:
    client = run("model.layers.3", prompt=FRANCE, generation=SHORT)
    client.stop()
    for _ in range(3):
        client.move("continue")
    past = next(frame for frame in client.frames() if frame["name"].startswith("step 1"))
    body = client.ask("llm/edit", frameId=past["id"], edits=[BAN], steps="onwards")
    assert body["forkedFrom"] == 1
    assert body["edits"][0]["spec"]["steps"] == {"first": 1}
    assert client.stop()["text"] == "step 1"


def test_a_row_of_the_history_is_changed_where_it_was(run: Run, plain: Plain) -> None:
    def change(output: Tensor, step: int) -> Tensor:
        output = output.clone()
        if step == 1:
            output[0, 0, 3] = 300.0
        return output

    with hooked(plain, LAYER, change):
        (expected,) = plain.texts(FRANCE, **SHORT)
    client = run("model.layers.3", prompt=FRANCE, generation=SHORT)
    client.stop()
    client.move("continue")
    past = next(frame for frame in client.frames() if frame["name"].startswith(LAYER))
    row = client.open(client.open(client.scope("Output", past)["output"])["[0]"])["[0]"]
    client.ask("setVariable", variablesReference=row["variablesReference"], name="[3]", value="300")
    assert client.stop()["text"] == "before model.layers.3 in step 1", (
        "it is of this step: the run stands where it stood"
    )
    past = next(frame for frame in client.frames() if frame["name"].startswith(LAYER))
    row = client.open(client.open(client.scope("Output", past)["output"])["[0]"])["[0]"]
    assert client.open(row)["[3]"]["value"] == "300.0"
    assert client.evaluate("output[0, 0, 3].item()", context="watch", frameId=past["id"]) == "300.0"
    assert to_the_end(client) == expected


def test_a_text_of_several_tokens_is_forced_one_after_the_other(run: Run) -> None:
    client = run("step", prompt=FRANCE, generation=SHORT)
    client.stop()
    edited(client, "force(' Lyonnais')")
    assert text_of_edits(client)[:2] == ["the token = ' L', step 0", "the token = 'y', step 1"]
    assert to_the_end(client).startswith("The capital of France is Lyonnais")


def test_frozen_heads_look_where_they_looked(run: Run) -> None:
    """Frozen where nothing else is changed, the prefill is as it was to the last bit."""
    client = run(f"after:{LAYER}", prompt=FRANCE, generation=SHORT)
    client.stop()
    before = client.evaluate("output.double().sum().item()", context="watch")
    edited(client, "freeze(1, head=2)")
    assert text_of_edits(client) == ["freeze attention pattern of model.layers.1.self_attn at heads 2, all steps"]
    assert float(client.evaluate("output.double().sum().item()", context="watch")) == pytest.approx(
        float(before), rel=1e-9
    )
    edited(client, f"patch(0, prompt={JAPAN!r}, positions=4)")
    assert client.evaluate("output.double().sum().item()", context="watch") != before


def test_values_of_another_branch_are_patched_in(run: Run) -> None:
    """The branch where the fact was patched in gives it on, by what its last layer said."""
    client = run(f"after:{LAYER}", prompt=FRANCE, generation=SHORT)
    client.stop()
    edited(client, f"patch(1, prompt={JAPAN!r}, positions=4)")
    tokyo = to_the_end(client)
    assert " Tokyo." in tokyo
    client.ask("llm/undoEdit")
    assert client.stop()["text"] == "step 0"
    edited(client, "patch(5, branch=1, step=0, positions=-1, steps='this')")
    assert to_the_end(client).startswith("The capital of France is Tokyo")


def text_of_edits(client: RawClient) -> list[str]:
    return [edit["text"] for edit in client.ask("llm/edits")["edits"]]


BAN = {"target": {"kind": "logits"}, "change": {"kind": "ban", "tokens": [" currency", " language"]}}
ZERO = {"target": {"kind": "module", "path": "*.layers.2.mlp"}, "change": {"kind": "zero"}}


def test_edits_are_switched_exchanged_and_undone_one_by_one(run: Run, plain: Plain) -> None:
    client = run("model.layers.0", prompt=FRANCE, generation=SHORT)
    client.stop()
    body = client.ask("llm/edit", edits=[ZERO, BAN])
    assert [(edit["id"], edit["text"]) for edit in body["edits"]] == [
        (1, "zero output of *.layers.2.mlp, all steps"),
        (2, "ban ' currency', ' language', all steps"),
    ]
    client.stop()
    off = client.ask("llm/changeEdit", id=2, enabled=False)["edits"]
    assert [edit["enabled"] for edit in off] == [True, False]
    client.stop()
    half = {"target": ZERO["target"], "change": {"kind": "scale", "number": 0.5}}
    other = client.ask("llm/changeEdit", id=1, spec=half)["edits"]
    assert other[0]["text"] == "scale output of *.layers.2.mlp by 0.5, all steps"
    client.stop()
    with hooked(plain, "model.layers.2.mlp", lambda output, _step: output * 0.5):
        (expected,) = plain.texts(FRANCE, **SHORT)
    assert to_the_end(client) == expected
    with pytest.raises(Refused, match="there is no edit 7 in this branch: it has 1, 2") as refused:
        client.ask("llm/undoEdit", id=7)
    assert refused.value.id == 57
    client.ask("llm/undoEdit", id=1)
    client.stop()
    assert to_the_end(client) == plain.texts(FRANCE, **SHORT)[0]
    assert [edit["id"] for edit in client.ask("llm/undoEdit")["edits"]] == []
    assert client.event("invalidated")["areas"] == ["variables", "stacks"], "it was off: nothing moves"


def test_an_option_of_sampling_from_now_on(run: Run, plain: Plain) -> None:
    options = {"do_sample": True, "temperature": 3.0, "max_new_tokens": 6, "min_new_tokens": 6}
    client = run("step", prompt=FRANCE, generation=options, seed=4)
    client.stop()
    assert edited(client, "top_k = 1")["description"] == "edited: top_k = 1, all steps: step 0"
    assert to_the_end(client) == plain.texts(FRANCE, max_new_tokens=6, min_new_tokens=6)[0]


REFUSED: list[tuple[str, str]] = [
    ("output[0, 2] = torch.zeros(7)", "the value has shape (7), which does not fit the 192 elements"),
    ("output[0, 99] = 0", "[0, 99] is not in a value of shape 1, 6, 192"),
    ("output[0, 0] = 'three'", "str is neither a number nor a tensor"),
    ("output[0, 0] = three", "NameError: name 'three' is not defined"),
    ("output[0, 0] = 1e39", "1e+39 is too large for float32"),
    ("zero('model.layers.9')", "no module 'model.layers.9'; did you mean"),
    ("zero(6)", "no layer 6: this model has 6, counted from 0"),
    ("zero(0, position=3)", "there is no position here: say where with value, part, sequences, positions"),
    ("zero(0, positions=' Spain')", "no token of the text is ' Spain'"),
    ("zero(0, positions=7, steps='this')", "step 0 has nothing of this"),
    ("scale(0, factor='a')", "'a' is no number"),
    ("steer(0, [1.0, 2.0])", "the vector has shape (2), which does not fit"),
    ("patch(1, prompt='one', positions=4)", "no position 4 there: it has 0 to 1"),
    ("ablate(0, head=6)", "no heads 6: there are 6, counted from 0"),
    ("force(99999)", "there is no token 99999"),
    ("ban('a b c')", "'a b c' is no single token"),
    ("token = 3.5", "3.5 is no token: give its text or its id"),
    ("token = 10**30", "there is no token 1000000000000000000000000000000"),
    ("force(-1)", "there is no token -1"),
    ("force(None)", "None is no token: give its text or its id"),
    ("zero(0, part=3)", "there is no tensor 3 in what is returned"),
    ("patch(1, prompt='The capital of Japan is', step=2)", "leave out the branch and the step"),
    ("zero(0, steps='never')", "steps are 'this', 'onwards' or 'all', and not 'never'"),
    ("zero(0, positions=2.5)", "2.5 is no whole number"),
    ("zero(0, positions=[2.5])", "2.5 is no whole number"),
    ("zero(0, positions=10**20)", "no message could say this edit"),
    ("noise(0, 1, seed=2**70)", "no message could say this edit"),
    ("noise(0, 1, seed=0.5)", "no message could say this edit"),
    ("patch(1, step=-1)", "no message could say this edit"),
    ("scores[0, 3] = 1", "change `logits`, or an option"),
    ("num_beams = 3", "'num_beams' cannot be changed while a run goes on"),
    ("attention[0, 1, 2, 3] = 0", "attention has three axes"),
    ("undo()", "there is nothing to undo"),
]


@pytest.fixture(scope="module")
def stopped(session: RawClient, example_model: Path) -> RawClient:
    """Stopped where every edit is refused, so that one run serves them all."""
    session.restart([f"after:{LAYER}"], model=str(example_model), prompt=FRANCE, generation=SHORT)
    session.stop()
    return session


@pytest.mark.parametrize(("line", "why"), REFUSED, ids=[line for line, _ in REFUSED])
def test_what_makes_no_sense_is_refused_and_nothing_has_changed(stopped: RawClient, line: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        stopped.evaluate(line)
    assert why in str(refused.value)
    assert stopped.ask("llm/edits") == {"edits": []}
    assert stopped.place() == f"{LAYER} (after)"


EMBEDDING = {"kind": "module", "path": "model.embed_tokens", "value": "input"}
REFUSED_MESSAGES: list[tuple[Json, str]] = [
    ({"target": EMBEDDING, "change": {"kind": "set", "number": 5000}}, "the model does not take this edit: IndexError"),
    ({"target": {"kind": "token", "sequences": [9]}, "change": {"kind": "force", "tokens": [5]}}, "no sequence 9"),
    ({**ZERO, "steps": {"first": 5, "last": 2}}, "cannot begin in step 5 and end in step 2"),
]


@pytest.mark.parametrize(("spec", "why"), REFUSED_MESSAGES, ids=[why for _, why in REFUSED_MESSAGES])
def test_so_are_messages(stopped: RawClient, spec: Json, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        stopped.ask("llm/edit", edits=[spec])
    assert refused.value.id == 56
    assert stopped.ask("llm/edits") == {"edits": []}


def test_rows_that_are_no_values_of_the_run_are_refused(stopped: RawClient) -> None:
    reference = stopped.scopes()["Tokens"]["variablesReference"]
    with pytest.raises(Refused, match=r"'\[1\]' cannot be changed: one can change parameters and buffers") as refused:
        stopped.ask("setVariable", variablesReference=reference, name="[1]", value="3")
    assert refused.value.id == 56
    with pytest.raises(Refused, match=r"'torch\.pi' cannot be changed"):
        stopped.ask("setExpression", expression="torch.pi", value="3")


def test_python_stays_python(stopped: RawClient) -> None:
    assert stopped.evaluate("mine = output[0, -1].clone()") == ""
    assert stopped.evaluate("mine[0] = 5") == ""
    assert stopped.evaluate("mine[0].item()") == "5.0"
    assert stopped.evaluate("zero(0)", context="watch") == "<an edit: write it by itself to have it done>"
    assert stopped.ask("llm/edits") == {"edits": []}


def test_a_saved_list_gives_the_same_tokens_in_a_new_process(
    run: Run, spawn: Spawn, example_model: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"prompt": FRANCE, "generation": {**SHORT, "do_sample": True}, "seed": 3}
    client = run(f"after:{LAYER}", **options)
    client.stop()
    edited(client, f"patch(1, prompt={JAPAN!r}, positions=' France')")
    edited(client, "noise('*.layers.*.mlp', 0.3, seed=5)")
    edited(client, "steer(4, torch.linspace(-1, 1, 192), 2.0, positions=-1)")
    edited(client, "model.model.norm.weight[:10] = 0.5")
    edited(client, "ban(' Paris', ' Tokyo')")
    file = tmp_path / "edits.json"
    assert client.ask("llm/saveEdits", file=str(file)) == {"file": str(file), "edits": 5}
    with pytest.raises(Refused, match="is there already: set `replace`"):
        client.ask("llm/saveEdits", file=str(file))
    expected = to_the_end(client)

    other = spawn()
    other.response(other.begin([f"after:{LAYER}"], model=str(example_model), **options))
    other.stop()
    with pytest.raises(Refused, match="cannot be read: No such file"):
        other.ask("llm/loadEdits", file=str(tmp_path / "none.json"))
    assert len(other.ask("llm/loadEdits", file=str(file))["edits"]) == 5
    other.stop()
    assert to_the_end(other) == expected
    assert torch.equal(_ids(client), _ids(other))


def _ids(client: RawClient) -> Tensor:
    return torch.tensor([token["id"] for token in client.ask("llm/generation", threadId=1)["tokens"]])


def test_restarting_leaves_no_edit_behind(run: Run, plain: Plain) -> None:
    client = run(LAYER, prompt=FRANCE, generation=SHORT)
    client.stop()
    edited(client, "model.model.norm.weight[:] = 0.5")
    edited(client, "zero('*.mlp')")
    client = run(prompt=FRANCE, generation=SHORT)
    client.stop()
    assert client.ask("llm/edits") == {"edits": []}
    assert text(client) == plain.texts(FRANCE, **SHORT)[0]


def test_beam_search_refuses_edits_that_do_not_fit_in_later_steps_too(run: Run) -> None:
    beams = {"max_new_tokens": 4, "num_beams": 2}
    client = run(prompt=FRANCE, generation=beams, stopOnEntry=True)
    client.stop()
    client.ask("setFunctionBreakpoints", breakpoints=[{"name": LAYER, "condition": "step == 2"}])
    stop = client.move("continue")
    assert stop["text"] == f"before {LAYER} in step 2"
    for line, why in [
        ("patch(2, torch.zeros(7))", r"the patch has shape \(7\), which does not fit"),
        ("ablate(2, head=6)", "no heads 6: there are 6"),
        ("force(' Rome')", "the choice of tokens cannot be edited here"),
    ]:
        with pytest.raises(Refused, match=why):
            client.evaluate(line)
        assert client.ask("llm/edits") == {"edits": []}
    assert "effect" not in client.output("console"), "nothing is told of what was refused"
