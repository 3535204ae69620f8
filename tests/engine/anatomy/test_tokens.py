"""Text that grows with the tokens: whatever the pieces, together they are the text of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tokens import TextStream, UnknownToken, Vocabulary


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


@pytest.mark.parametrize("pieces", [[1, 1], [2], [1, 0, 1]])
def test_a_token_without_text_takes_no_blank_away(pieces: list[int]) -> None:
    words = Tokenizer(models.WordLevel({"one": 0, "two": 1, "</s>": 2}, unk_token="</s>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
    stream, rest = TextStream(Vocabulary(tokenizer)), [2, 1]
    written = stream.complete([0])
    for size in pieces:
        written += stream.put(rest[:size])
        rest = rest[size:]
    assert written == "one two"


def test_half_a_character_waits_for_the_other_half(atlas: Loaded) -> None:
    ids = atlas.tokenizer("é", add_special_tokens=False)["input_ids"]
    stream = TextStream(Vocabulary(atlas.tokenizer))
    pieces = [stream.put([token]) for token in ids]
    assert "�" not in "".join(pieces)
    assert "".join(pieces) + stream.complete(ids) == "é"


def test_without_a_tokenizer_there_are_ids() -> None:
    assert Vocabulary(None).decode([3, 4]) == "<3> <4>"


@pytest.mark.parametrize("wanted", ["' Paris'", '" Paris"', " Paris"])
def test_a_token_is_found_by_its_text_quoted_or_not(atlas: Loaded, wanted: str) -> None:
    vocabulary, size = Vocabulary(atlas.tokenizer), len(atlas.tokenizer)
    paris = vocabulary.find(wanted, size)
    assert vocabulary.text(paris) == " Paris"
    assert vocabulary.find(paris, size) == vocabulary.find(str(paris), size) == paris


def test_what_is_no_token_is_refused_with_what_there_is(atlas: Loaded) -> None:
    vocabulary = Vocabulary(atlas.tokenizer)
    with pytest.raises(UnknownToken, match=r"' Paris Rome' is no single token: it is ' Paris', ' Rome'"):
        vocabulary.find(" Paris Rome", 100)
    with pytest.raises(UnknownToken, match="'' is no single token: it is nothing"):
        vocabulary.find("", 100)
    with pytest.raises(UnknownToken, match="there is no token 100: ids are 0 to 99"):
        vocabulary.find(100, 100)
    with pytest.raises(UnknownToken, match="no tokenizer"):
        Vocabulary(None).find("a", 100)
