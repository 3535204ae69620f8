"""What a model keeps of earlier tokens, over the wire: against a plain run's cache."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import names, values
from tests.e2e.test_what_is_shown import elements

PROMPTS = ["The capital of France is", "one two three"]


def test_the_cache_in_the_middle_of_a_step_layer_by_layer(run: Run, plain: Plain) -> None:
    expected = plain.generate(*PROMPTS, max_new_tokens=2, return_dict_in_generate=True).past_key_values
    ids = plain.encode(*PROMPTS)["input_ids"]
    prompt = ids.shape[1]

    client = run("*.layers.2", prompts=PROMPTS)
    client.stop()
    client.move("continue")  # step 1
    frames = {frame["name"]: frame for frame in client.frames(thread=2)}
    whole = client.scope("Cache", frames["LlamaForCausalLM"])
    assert whole["as of"]["value"] == "before model.layers.2 in step 1: 2 of 6 layers have this step's tokens (1 each)"
    sizes = [prompt + 1] * 2 + [prompt] * 4
    each = expected.layers[0].keys[:, :, 0].nbytes * 2
    assert whole["bytes"]["value"] == f"{sum(sizes) * each:,}"
    assert whole["bytes per further token"]["value"] == f"{6 * each:,}"
    layers = client.open(whole["layers"])
    assert list(layers) == [f"[{i}]" for i in range(6)]
    assert (
        layers["[0]"]["value"]
        == f"DynamicLayer · {prompt + 1} tokens · {(prompt + 1) * each:,} bytes · +1 in this step"
    )

    own = client.scope("Cache", frames["model.layers.0 (done)"])
    assert values(own)["added in this step"] == "1"
    positions = client.open(own["positions"], filter="indexed", start=0, count=50)
    texts = [plain.token(int(token)) for token in [*ids[1], plain.generate(*PROMPTS, max_new_tokens=1)[1, -1]]]
    assert [row["value"].partition("  ")[0] for row in positions.values()] == texts
    for at in (0, 3, prompt):
        key = client.open(client.open(positions[f"[{at}]"])["key"])["[1]"]
        assert elements(client.open(key)) == pytest.approx(expected.layers[0].keys[1, 1, at].tolist(), abs=1e-6)
        norm = float(positions[f"[{at}]"]["value"].rpartition("value norm ")[2])
        assert norm == pytest.approx(float(expected.layers[0].values[1, :, at].double().norm()), rel=1e-3)

    present = client.scope("Cache", frames["model.layers.2 (before)"])
    assert values(present)["tokens"] == f"{prompt} tokens"
    assert "Cache" not in client.scopes(next(f for f in client.frames() if f["name"].startswith("step 0")))


def test_at_the_end_it_is_all_that_was_kept(run: Run, plain: Plain) -> None:
    client = run(prompt=PROMPTS[0], generation={"max_new_tokens": 3})
    client.stop()
    assert names(client.frames(levels=1)) == ["step 2 (end of the generation)"]
    prompt = plain.encode(PROMPTS[0])["input_ids"].shape[1]
    shown = values(client.scope("Cache"))
    assert (shown["kind"], shown["tokens"]) == ("DynamicCache", str(prompt + 2))
