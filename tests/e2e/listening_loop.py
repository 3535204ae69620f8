"""A program that answers one line with the same generation again and again, and says what of the debugger is in it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import dap_server

dap_server.listen(0)
assert "torch" not in sys.modules

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.modules import module as of_modules  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402
from transformers.generation.utils import GenerationMixin  # noqa: E402

MODEL = Path(__file__).parents[2] / "fixtures" / "models" / "atlas"
REPLACED = [(nn.Module, "__call__"), (GenerationMixin, "generate"), (GenerationMixin, "_sample")]
ORIGINAL = [vars(owner)[name] for owner, name in REPLACED]

tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForCausalLM.from_pretrained(MODEL).eval()
inputs = tokenizer("The capital of France is", return_tensors="pt")


def generate(count: int = 8) -> str:
    torch.manual_seed(7)
    output = model.generate(**inputs, max_new_tokens=count, min_new_tokens=count, do_sample=True)
    return str(tokenizer.decode(output[0]))


def left() -> str:
    """What there is of a debugger, once the threads of those who have left are over."""
    for thread in threading.enumerate():
        if thread.name.startswith("llm-dap") and thread.name != "llm-dap listener":
            thread.join(30)
    is_there = [name for (owner, name), was in zip(REPLACED, ORIGINAL, strict=True) if vars(owner)[name] is not was]
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
    everywhere = len(of_modules._global_forward_hooks) + len(of_modules._global_forward_pre_hooks)
    weights = sum(float(p.double().sum()) for p in model.parameters())
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    traced = sys.gettrace() is not None
    return f"{is_there} hooks {hooks} {everywhere} traced {traced} weights {weights!r} threads {threads} files {files}"


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main() -> None:
    for line in sys.stdin:
        match line.split():
            case ["generate", count]:
                say("answer", repr(generate(int(count))))
            case ["left"]:
                say("left", left())
            case ["wait"]:
                dap_server.wait_for_client()
                say("waited", dap_server.is_client_connected())
            case ["breakpoint"]:
                dap_server.breakpoint()
                say("passed ")
            case ["again"]:
                say("again", dap_server.listen(0))
            case ["fork"]:
                if (child := os.fork()) == 0:
                    dap_server.breakpoint()
                    say("child", repr(generate(8)), dap_server.is_client_connected())
                    os._exit(0)
                say("forked", os.waitpid(child, 0)[1])


if __name__ == "__main__":
    main()
