"""The texts that a run begins with: as its launch configuration gives them, or as edits have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from torch import Tensor

from dap_server.engine.execution.edits.edits import PromptText
from dap_server.engine.execution.edits.selection import CannotEdit
from dap_server.protocol.errors import RequestError
from dap_server.protocol.launch import LaunchArguments


class ConfigurationError(RequestError):
    """The launch configuration does not fit the model."""

    id = 21


def texts_of(launch: LaunchArguments) -> list[str]:
    """What every sequence begins with; of a chat its last message of the user.

    Raises:
        CannotEdit: the chat has none that is text.
    """
    if launch.messages is None:
        return launch.prompts if launch.prompts is not None else [launch.prompt or ""]
    text = launch.messages[_last_of_user(launch.messages)]["content"]
    return [str(text)]


def prompted(launch: LaunchArguments, prompts: Sequence[PromptText]) -> LaunchArguments:
    """The same configuration with other texts. Raises CannotEdit: it has no such sequence, or no such message."""
    for sequence, text in prompts:
        count = len(texts_of(launch))
        if sequence is not None and not 0 <= sequence < count:
            raise CannotEdit(f"there is no sequence {sequence}: they are numbered from 0 to {count - 1}")
        if launch.messages is not None:
            messages = [dict(message) for message in launch.messages]
            messages[_last_of_user(messages)]["content"] = text
            launch = msgspec.structs.replace(launch, messages=messages)
        elif launch.prompts is not None:
            texts = [text if sequence in (None, i) else old for i, old in enumerate(launch.prompts)]
            launch = msgspec.structs.replace(launch, prompts=texts)
        else:
            launch = msgspec.structs.replace(launch, prompt=text)
    return launch


def _last_of_user(messages: Sequence[dict[str, Any]]) -> int:
    for i in reversed(range(len(messages))):
        if messages[i].get("role") == "user" and isinstance(messages[i].get("content"), str):
            return i
    raise CannotEdit("this chat has no message of a user that is text: restart it with other 'messages'")


def encode(tokenizer: Any, launch: LaunchArguments, device: torch.device) -> dict[str, Tensor]:
    """The inputs of `generate`: `input_ids` and `attention_mask`, each (B, T), left-padded.

    Raises:
        ConfigurationError: an empty prompt, or a chat for a model without a chat template.
    """
    try:
        if launch.messages is not None:
            encoded = tokenizer.apply_chat_template(
                launch.messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        else:
            texts = texts_of(launch)
            if len(texts) > 1 and tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token
            encoded = tokenizer(texts, return_tensors="pt", padding=len(texts) > 1)
    except Exception as error:
        what = "messages" if launch.messages is not None else "prompt"
        raise ConfigurationError(f"{what}: {' '.join(str(error).split())}") from error
    if encoded["input_ids"].shape[-1] == 0:
        raise ConfigurationError("prompt: it is empty, and the tokenizer adds no token of its own: give some text")
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {name: encoded[name].to(device) for name in names if name in encoded}
