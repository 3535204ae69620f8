"""Token ids and their text, for people."""

from __future__ import annotations

import ast
import contextlib
import operator
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dap_server.protocol.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class UnknownToken(RequestError):
    """There is no such token; the text says what there is instead."""

    id = 53


def require_token(token: int, size: int) -> None:
    """Raises UnknownToken: a vocabulary of `size` has no such id."""
    if not 0 <= token < size:
        raise UnknownToken(f"there is no token {token}: ids are 0 to {size - 1}")


class Vocabulary:
    """The text of tokens. Works without a tokenizer, with ids alone."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase | None) -> None:
        self.tokenizer: Any = tokenizer
        self._texts: dict[int, str] = {}

    def adopt(self, tokenizer: Any) -> None:
        """A tokenizer that was found later."""
        self.tokenizer = tokenizer
        self._texts.clear()
        self.__dict__.pop("_special", None)

    def text(self, token: int) -> str:
        """The text that a token adds, special tokens by their name; `<12>` without a tokenizer."""
        if token not in self._texts:
            self._texts[token] = self._decode_one(token)
        return self._texts[token]

    def is_special(self, token: int) -> bool:
        """Whether it is no text, such as the beginning or the end of one."""
        return self.tokenizer is not None and token in self._special

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(self.tokenizer.all_special_ids)

    def quoted(self, token: int) -> str:
        """`' Paris'`: the text as a Python literal, so that blanks and line ends show."""
        return repr(self.text(token))

    def token_of(self, text: str) -> int | None:
        """The one token that has this text, as it stands or after a blank; None when it takes several."""
        if self.tokenizer is None:
            return None
        for form in (text, f" {text}"):
            ids = self.tokenizer.encode(form, add_special_tokens=False)
            if len(ids) == 1:
                return int(ids[0])
        return None

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a sequence as `tokenizer.decode(…, skip_special_tokens=True)` gives it."""
        if self.tokenizer is None:
            return " ".join(f"<{token}>" for token in tokens)
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def readable(self, tokens: Sequence[int]) -> str:
        """The text of a sequence as `decode` gives it, but with its masks."""
        if self.mask_token_id is None or self.mask_token_id not in tokens:
            return self.decode(tokens)
        hidden = set(self.tokenizer.all_special_ids) - {self.mask_token_id}
        return str(self.tokenizer.decode([token for token in tokens if token not in hidden]))

    @property
    def mask_token(self) -> str | None:
        """How a mask is written, None when there is none."""
        return getattr(self.tokenizer, "mask_token", None)

    @property
    def mask_token_id(self) -> int | None:
        return getattr(self.tokenizer, "mask_token_id", None)

    def find(self, token: int | str, size: int | None = None) -> int:
        """The id of a token of a vocabulary, of `size` if that is known: by its id, or by its text, quoted or not.

        Raises:
            UnknownToken: the text is of no token or of several, or the id is of none; it is neither text nor id.
        """
        token = self._find_text(token) if isinstance(token, str) else _id(token)
        if size is not None:
            require_token(token, size)
        return token

    def _find_text(self, text: str) -> int:
        if text.isdigit():
            return int(text)
        if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
            with contextlib.suppress(ValueError, SyntaxError):
                text = str(ast.literal_eval(text))
        if self.tokenizer is None:
            raise UnknownToken(f"there is no tokenizer that knows {text!r}: give an id")
        if text and (token := self.token_of(text)) is not None:
            return token
        pieces = ", ".join(map(self.quoted, self.tokenizer.encode(text, add_special_tokens=False)))
        raise UnknownToken(f"{text!r} is no single token: it is {pieces or 'nothing'}")

    def _decode_one(self, token: int) -> str:
        if self.tokenizer is None:
            return f"<{token}>"
        return str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))


def _id(token: Any) -> int:
    """Of an id as Python, NumPy or torch has it."""
    try:
        if not isinstance(token, bool):
            return operator.index(token)
    except TypeError:
        pass
    raise UnknownToken(f"{token!r} is no token: give its text or its id")


class TextStream:
    """Turns a growing sequence of tokens into pieces of text, whose concatenation is the text of the whole.

    A piece is held back while its last character is incomplete (half of a UTF-8 sequence). Only the last two pieces are
    decoded again, so the work per token does not grow with the text.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokens: list[int] = []
        self._start = 0
        self._read = 0
        self.text = ""

    def put(self, tokens: Sequence[int]) -> str:
        """The text that these tokens add; may be empty."""
        self._tokens.extend(tokens)
        if len(self._tokens) == self._read:
            return ""
        known = self._vocabulary.decode(self._tokens[self._start : self._read])
        text = self._vocabulary.decode(self._tokens[self._start :])
        if text.endswith("\N{REPLACEMENT CHARACTER}") or not text.startswith(known):
            return ""
        if text != known:  # tokens without text, such as special ones, are no context to take a blank from
            self._start = self._read
        self._read = len(self._tokens)
        return self._add(text[len(known) :])

    def complete(self, tokens: Sequence[int]) -> str:
        """Everything that is not written yet of the whole sequence, given all of its tokens."""
        piece = self.put(tokens[len(self._tokens) :])
        whole = self._vocabulary.decode(self._tokens)
        return piece + self._add(whole[len(self.text) :]) if whole.startswith(self.text) else piece

    def _add(self, piece: str) -> str:
        self.text += piece
        return piece
