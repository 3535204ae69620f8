"""`llm-dap demo`: the terminal debugger, stopped inside the example model of the repository."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dap_server.terminal.main import debug

MODEL = Path(__file__).resolve().parents[2] / "fixtures" / "models" / "atlas"
PROMPT = "The capital of France is"
BREAKPOINT = "*.layers.3"
NEW_TOKENS = 10
"""Two sentences."""
INTRODUCTION = """
You are inside the model, before its layer 3 works on the prompt. Try:
  stack              what is running: modules, from the innermost out
  v Inputs           what the layer was given; v Inputs.hidden_states[0] goes deeper
  next, step, out    over this module, into it, out of it
  goto 4, back, rcontinue    to another step, back over a module, back to a breakpoint
  break sample       stop where the token is chosen, then: continue, v Sampling
  lens, attention 3, attribution, saliency    how the model comes to what it says
  p inputs["hidden_states"].norm()      any Python
  where, help, quit
"""
SCRIPT = """
# Where are we? The modules that are running, the innermost first.
stack
# What the layer was given.
v Inputs
# Over the layer: the next stop is before its neighbour, with what it returned.
next
v Returned
# Into the next layer, to its first submodule, and out again to its end.
step
out
v Output
p output.norm()
# On to where the token is chosen.
delete all
break sample
continue
v Sampling
where
# How did that come about? What every layer would say, and what each part adds to the score.
lens
attribution
# Where layer 3 looks, head by head.
attention 3
# How much each token of the text bears on the choice.
saliency
# On to a later token, and back from there: over a layer, then to the choice of the token before.
goto 3 model.layers.3
back
rcontinue
v Sampling.token
# What has happened can still be looked at: it runs again when it is opened.
stack
frame 6
v Output
frame 10
v Sampling.top
# Nothing of it has changed what comes next. On to the end of the text.
delete all
continue
where
continue
"""


def main(argv: list[str]) -> int:
    """A person gets the prompt; without a terminal a session is played and printed."""
    argparse.ArgumentParser(prog="llm-dap demo", description="Debug the example model.").parse_args(argv)
    if not (MODEL / "config.json").exists():
        print(f"llm-dap demo: the example model is not at {MODEL}: clone the repository to get it", file=sys.stderr)
        return 1
    options = {"model": str(MODEL), "prompt": PROMPT, "generation": {"max_new_tokens": NEW_TOKENS}}
    lines = None if sys.stdin.isatty() and sys.stdout.isatty() else SCRIPT.strip().splitlines()
    return debug(options, [BREAKPOINT], lines, runs_to_end=True, introduction=INTRODUCTION.rstrip())
