"""The picture of a cache."""

from __future__ import annotations

import io

from dap_server.terminal import kept
from dap_server.terminal.screen import Screen
from tests.terminal.test_render import row


def test_the_whole_comes_first_then_a_line_for_every_layer() -> None:
    layers = {
        "self attention": [row("[0]", "DynamicLayer · 6 tokens · 96 bytes"), row("[1]", "DynamicLayer · empty")],
        "cross attention": [row("[0]", "DynamicLayer · 9 tokens · 128 bytes")],
    }
    paper = io.StringIO()
    Screen(paper, width=90).show(kept.view([row("kind", "EncoderDecoderCache"), row("bytes", "224")], layers))
    assert [line.rstrip() for line in paper.getvalue().splitlines()] == [
        "kind   EncoderDecoderCache",
        "bytes  224",
        "self attention",
        "0  DynamicLayer  6 tokens  96 bytes",
        "1  DynamicLayer  empty",
        "cross attention",
        "0  DynamicLayer  9 tokens  128 bytes",
    ]
