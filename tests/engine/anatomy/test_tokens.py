"""Text that grows with the tokens: whatever the pieces, together they are the text of the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tokens import TextStream, Vocabulary


def test_pieces_add_up_to_the_decoded_whole(atlas: Loaded) -> None:
    vocabulary = Vocabulary(atlas.tokenizer)

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(st.lists(st.lists(st.integers(0, len(atlas.tokenizer) - 1), max_size=4), max_size=12))
    def check(pieces: list[list[int]]) -> None:
        stream = TextStream(vocabulary)
        written = "".join(stream.put(piece) for piece in pieces)
        whole = [token for piece in pieces for token in piece]
        written += stream.complete(whole)
        assert written == atlas.tokenizer.decode(whole, skip_special_tokens=True)

    check()


def test_half_a_character_waits_for_the_other_half(atlas: Loaded) -> None:
    ids = atlas.tokenizer("é", add_special_tokens=False)["input_ids"]
    stream = TextStream(Vocabulary(atlas.tokenizer))
    pieces = [stream.put([token]) for token in ids]
    assert "�" not in "".join(pieces)
    assert "".join(pieces) + stream.complete(ids) == "é"


def test_without_a_tokenizer_there_are_ids() -> None:
    assert Vocabulary(None).decode([3, 4]) == "<3> <4>"
