"""One tensor over the wire: sliced along its axes, as tiles, as bytes to read and write, as Python, as a file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.e2e.conftest import Run
from tests.e2e.plain import Plain
from tests.e2e.raw_client import Json, RawClient, Refused, values

PROMPT = "The capital of France is"
PATH = "model.layers.3"


@pytest.fixture
def stopped(run: Run) -> RawClient:
    """Before layer 3, in the prefill."""
    client = run(PATH, prompt=PROMPT, generation={"max_new_tokens": 2})
    client.stop()
    return client


@pytest.fixture
def hidden(plain: Plain) -> Tensor:
    """(B, T, D) what layer 3 is given."""
    return plain.output_of("model.layers.2", PROMPT)


def row(client: RawClient, name: str = "hidden_states") -> Json:
    return client.scope("Inputs")[name]


def tile(body: Json) -> np.ndarray[Any, np.dtype[np.float64]]:
    found = body["tile"]
    numbers = np.frombuffer(base64.b64decode(found["data"]), np.dtype(found["dtype"]).newbyteorder("<"))
    shaped: np.ndarray[Any, np.dtype[np.float64]] = numbers.astype(np.float64).reshape(found["shape"])
    return shaped * float(found.get("scale", 1.0))


def test_any_axis_opens_by_its_name(stopped: RawClient, hidden: Tensor, plain: Plain) -> None:
    axes = stopped.open(stopped.open(row(stopped), filter="named")["axes"])
    assert values(axes) == {"batch": "1", "position": "6", "feature": "192"}
    (found,) = stopped.open(axes["feature"], filter="indexed", start=7, count=1).values()
    sequence = stopped.open(stopped.open(found, filter="indexed")["[0]"], filter="indexed")
    tokens = plain.encode(PROMPT)["input_ids"][0].tolist()
    assert values(sequence) == {
        f"[{i}]": f"{plain.token(token)}  {np.float32(hidden[0, i, 7])!s}" for i, token in enumerate(tokens)
    }
    assert found["evaluateName"] == "hidden_states[:, :, 7]"
    assert stopped.evaluate(f"{sequence['[2]']['evaluateName']}.item()") == repr(hidden[0, 2, 7].item())


def test_statistics_open_to_quantiles_and_a_histogram(stopped: RawClient, hidden: Tensor) -> None:
    statistics = stopped.open(stopped.open(row(stopped), filter="named")["statistics"])
    x = hidden.double().numpy().ravel()
    shown = values(stopped.open(statistics["quantiles"]))
    assert [float(value) for value in shown.values()] == pytest.approx(np.percentile(x, [1, 5, 25, 50, 75, 95, 99]))
    bars = values(stopped.open(statistics["histogram"]))
    counts = [int(line.split()[3].replace(",", "")) for line in bars.values()]
    assert counts == np.histogram(x, 20)[0].tolist()


def test_a_page_comes_as_a_tile_with_its_tokens(stopped: RawClient, hidden: Tensor, plain: Plain) -> None:
    tokens = [plain.token(token) for token in plain.encode(PROMPT)["input_ids"][0].tolist()]
    for which in ({"variablesReference": row(stopped)["variablesReference"]}, {"expression": "hidden_states"}):
        body = stopped.ask("llm/tensor", **which, slices=[0, [1, 4], [10, 20]], statistics=True)
        assert np.array_equal(tile(body), hidden[0, 1:4, 10:20].double().numpy())
        assert (body["shape"], body["dtype"], body["device"]) == ([1, 6, 192], "float32", "cpu")
        assert body["axes"] == [
            {"name": "batch", "size": 1, "index": 0},
            {"name": "position", "size": 6, "start": 1, "end": 4, "labels": tokens[1:4]},
            {"name": "feature", "size": 192, "start": 10, "end": 20},
        ]
        assert body["statistics"]["mean"] == pytest.approx(hidden[0, 1:4, 10:20].double().mean().item())
    small = stopped.ask("llm/tensor", expression="hidden_states", maxCells=50, dtype="float16")
    assert np.prod(small["tile"]["shape"]) <= 50
    assert small["tile"]["reduction"] == "magnitude"
    assert np.abs(tile(small)).max() == pytest.approx(hidden[0].abs().max().item(), rel=1e-3)


def test_how_the_numbers_of_a_page_or_of_all_are_distributed(stopped: RawClient, hidden: Tensor) -> None:
    for whole, part in ((False, hidden[0, 1:4, 10:20]), (True, hidden)):
        body = stopped.ask(
            "llm/tensor",
            expression="hidden_states",
            slices=[0, [1, 4], [10, 20]],
            statistics=True,
            distribution=True,
            whole=whole,
        )
        flat, found = part.double().numpy().ravel(), body["distribution"]
        assert body["tile"]["shape"] == [3, 10]
        assert body["statistics"]["max"] == flat.max()
        assert found["quantiles"] == pytest.approx(np.percentile(flat, found["percents"]))
        counts, edges = np.histogram(flat, len(found["counts"]))
        assert found["edges"] == pytest.approx(edges)
        assert found["counts"] == counts.tolist()
        order = np.argsort(-np.abs(flat), kind="stable")[:8]
        assert [one["value"] for one in found["farthest"]] == flat[order].tolist()
        assert [hidden[tuple(one["index"])].item() for one in found["farthest"]] == flat[order].tolist()
        assert "firstNonFinite" not in found
        assert "sample" not in found


def test_of_what_is_not_finite_the_place_is_told(stopped: RawClient) -> None:
    expression = "torch.tensor([[1.0, 2.0, float('inf')], [float('nan'), -5.0, 0.0]])"
    body = stopped.ask("llm/tensor", expression=expression, statistics=True, distribution=True)
    found = body["distribution"]
    assert found["firstNonFinite"] == [0, 2]
    assert found["farthest"][:2] == [{"index": [1, 1], "value": -5.0}, {"index": [0, 1], "value": 2.0}]
    assert sum(found["counts"]) == 4
    nothing = stopped.ask("llm/tensor", expression="torch.full((2, 2), float('nan'))", distribution=True)
    assert nothing["distribution"] == {
        "percents": [],
        "quantiles": [],
        "edges": [],
        "counts": [],
        "farthest": [],
        "firstNonFinite": [0, 0],
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "either a `variablesReference` of a tensor, or an `expression`"),
        ({"expression": "layer"}, "'layer' is no tensor"),
        ({"expression": "hidden_states", "slices": [5]}, "index 5 is outside of batch, which has 1"),
        ({"expression": "hiden_states"}, "did you mean"),
        ({"expression": "hidden_states", "slices": [[0, 1], None, None]}, "more than two axes are left"),
        ({"expression": "-hidden_states", "dtype": "uint8"}, "uint8 holds numbers from 0 on"),
        ({"expression": "hidden_states.to(torch.complex64)"}, "complex numbers are no picture"),
        ({"expression": "hidden_states.to('meta')"}, "has no values"),
    ],
    ids=str,
)
def test_what_is_no_page_says_why(stopped: RawClient, arguments: Json, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        stopped.ask("llm/tensor", **arguments)


def test_memory_is_read_as_the_specification_says(stopped: RawClient, hidden: Tensor) -> None:
    data = hidden.numpy().tobytes()
    reference = row(stopped)["memoryReference"]

    def read(offset: int, count: int) -> tuple[bytes, int]:
        body = stopped.ask("readMemory", memoryReference=reference, offset=offset, count=count)
        return base64.b64decode(body.get("data", "")), body.get("unreadableBytes", 0)

    assert read(0, len(data)) == (data, 0)
    assert read(5, 9) == (data[5:14], 0)
    assert read(len(data) - 3, 10) == (data[-3:], 7)
    assert read(len(data) + 8, 4) == (b"", 4)
    assert read(-6, 4) == (b"", 4)
    assert read(-6, 20) == (b"", 6)
    assert read(3, 0) == (b"", 0)
    assert stopped.capabilities["supportsReadMemoryRequest"]
    stopped.move("continue")
    with pytest.raises(Refused, match="not of this stop"):
        read(0, 4)


def test_bytes_that_are_written_are_what_the_run_goes_on_with(run: Run, plain: Plain) -> None:
    """Doubling what the last layer is given doubles nothing but that: the same edit by a hook gives the same logits."""
    last = "model.layers.5"
    client = run(last, "sample", prompt=PROMPT, generation={"max_new_tokens": 1})
    client.stop()
    found = row(client)
    given = plain.output_of("model.layers.4", PROMPT)
    edited = (given * torch.linspace(-1, 2, given.shape[2])).contiguous()
    data = base64.b64encode(edited.numpy().tobytes()).decode()
    written = client.ask("writeMemory", memoryReference=found["memoryReference"], data=data)
    assert written["bytesWritten"] == edited.nbytes
    assert client.stop()["reason"] == "goto", "it stands where it stood"
    assert client.evaluate("hidden_states[0, 3, 5].item()") == repr(edited[0, 3, 5].item())
    module = plain.model.get_submodule(last)
    hook = module.register_forward_pre_hook(lambda _, args, kwargs: ((edited, *args[1:]), kwargs), with_kwargs=True)
    try:
        options = {"max_new_tokens": 1, "output_logits": True, "return_dict_in_generate": True}
        expected = plain.generate(PROMPT, **options).logits[0][0]
    finally:
        hook.remove()
    client.move("continue")
    body = client.ask("llm/tensor", expression="logits[0]", maxCells=1 << 20)
    assert np.array_equal(tile(body), expected.double().numpy())


def test_writing_tells_clients_what_has_changed(stopped: RawClient) -> None:
    found = row(stopped)["memoryReference"]
    four = base64.b64encode(bytes(4)).decode()
    with pytest.raises(Refused, match="not all in the tensor"):
        stopped.ask("writeMemory", memoryReference=found, offset=-2, data=four)
    with pytest.raises(Refused, match="no base64"):
        stopped.ask("writeMemory", memoryReference=found, data="?")
    told = [m["body"]["memoryReference"] for m in stopped.messages if m.get("event") == "memory"]
    assert found not in told, "nothing has been written"
    body = stopped.ask("writeMemory", memoryReference=found, offset=-2, data=four, allowPartial=True)
    assert body == {"bytesWritten": 2, "offset": 0}
    assert stopped.event("memory") == {"event": "memory", "memoryReference": found, "offset": 0, "count": 2}
    assert stopped.event("invalidated")["areas"] == ["variables"]


def test_more_rows_than_fit_into_memory_are_refused_with_the_numbers(stopped: RawClient) -> None:
    wide = stopped.ask("evaluate", expression="torch.zeros(1).expand(10**14)", context="watch")
    assert wide["indexedVariables"] == 2**31 - 1, "as far as a client can count"
    with pytest.raises(Refused, match=r"4,294,967,295 rows would need .* on cpu, where .* are free") as refused:
        stopped.ask("variables", variablesReference=wide["variablesReference"], filter="indexed", count=2**32 - 1)
    assert refused.value.id == 32


def test_values_that_were_worked_out_are_not_written(stopped: RawClient) -> None:
    done = next(frame for frame in stopped.frames() if frame["name"] == "model.layers.1 (done)")
    past = stopped.scope("Output", done)["output"]
    temporary = stopped.ask("evaluate", expression="hidden_states * 2", context="repl")
    for reference in (past["memoryReference"], temporary["memoryReference"]):
        with pytest.raises(Refused, match="worked out for you") as refused:
            stopped.ask("writeMemory", memoryReference=reference, data="AAAA")
        assert refused.value.id == 33
    view = stopped.ask("evaluate", expression="hidden_states[0]", context="watch")
    assert stopped.ask("writeMemory", memoryReference=view["memoryReference"], data="AAAA")["bytesWritten"] == 3


def test_a_tensor_is_copied_as_python(stopped: RawClient, hidden: Tensor) -> None:
    assert stopped.capabilities["supportsClipboardContext"]
    text = stopped.evaluate("hidden_states[0, :2]", "clipboard")
    assert torch.equal(eval(text, {"torch": torch}), hidden[0, :2])
    named = row(stopped)
    for library in ("torch", "numpy"):
        body = stopped.ask("llm/tensorLiteral", variablesReference=named["variablesReference"], library=library)
        assert torch.equal(torch.as_tensor(eval(body["text"], {"torch": torch, "np": np})), hidden)
    with pytest.raises(Refused, match="save NAME PATH"):
        stopped.evaluate("model.lm_head.weight", "clipboard")


@pytest.mark.parametrize("suffix", [".npy", ".safetensors"])
def test_a_tensor_is_saved(stopped: RawClient, hidden: Tensor, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"hidden{suffix}"
    body = stopped.ask("llm/saveTensor", expression="hidden_states", path=str(path))
    assert body == {"path": str(path), "bytes": path.stat().st_size, "shape": [1, 6, 192], "dtype": "float32"}
    data = path.read_bytes()
    assert data.endswith(hidden.numpy().tobytes())
    with pytest.raises(Refused, match="is there already"):
        stopped.ask("llm/saveTensor", expression="hidden_states", path=str(path))
    stopped.ask("llm/saveTensor", expression="hidden_states + 1", path=str(path), overwrite=True)
    assert path.read_bytes() != data
    with pytest.raises(Refused, match="NUL character"):
        stopped.ask("llm/saveTensor", expression="hidden_states", path=f"{tmp_path}/a\0{suffix}")
