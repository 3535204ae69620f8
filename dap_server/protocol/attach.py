"""The attach configuration: every option once, with the description that editors show for it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from dap_server.protocol.errors import InvalidArguments
from dap_server.protocol.launch import LaunchArguments, MapOption, TokenOption, check_names
from dap_server.protocol.messages import Struct


class Connect(Struct):
    """Where a program listens that has called `dap_server.listen`."""

    port: Annotated[int, Meta(description="Port on which the program listens.", ge=1, le=65535)]
    host: Annotated[str, Meta(description="Machine of the program. From afar, forward its port by SSH.")] = "127.0.0.1"
    token: Annotated[
        str | None,
        Meta(
            description="Token that the program printed. By default that of your programs on this machine, or what "
            "LLM_DAP_TOKEN says."
        ),
    ] = None


class PathMapping(Struct):
    """Where the files of a program on another machine are on this one."""

    local_root: Annotated[str, Meta(description="Folder on this machine.")]
    remote_root: Annotated[str, Meta(description="The same folder on the program's machine.")]


class AttachArguments(Struct):
    """A running program to attach to, and how."""

    connect: Annotated[Connect, Meta(description="Where the program listens.")]
    python_debugger: Annotated[bool, Meta(description="Debug the lines of Python code too, by debugpy.")] = True
    just_my_code: Annotated[
        bool, Meta(description="Step over Python code of libraries, and show their frames faintly.")
    ] = True
    path_mappings: Annotated[
        list[PathMapping], Meta(description="Where the files of a program on another machine are on this one.")
    ] = []
    map: MapOption = None
    token: TokenOption = None

    @property
    def address(self) -> str:
        host = f"[{self.connect.host}]" if ":" in self.connect.host else self.connect.host
        return f"{host}:{self.connect.port}"

    @property
    def subject(self) -> str:
        """What is debugged, as the person named it."""
        return self.address

    @property
    def title(self) -> str:
        return f"Attaching to {self.address}"

    @property
    def no_debug(self) -> bool:
        """Nobody attaches to look away."""
        return False


Configuration = LaunchArguments | AttachArguments
"""What a session begins with."""


class AttachError(InvalidArguments):
    """The attach configuration is wrong: its author should see why."""

    show_user = True


def parse_attach(arguments: bytes) -> AttachArguments:
    """The attach configuration of an `attach` request.

    Raises:
        AttachError: a value of the wrong type, or a misspelt option; the text says what to do.
    """
    try:
        given = msgspec.json.decode(arguments or b"{}", type=dict[str, Any])
        if "connect" not in given:
            text = 'give the place where the program listens: "connect": {"port": 5678}'
            raise AttachError(f"attach configuration: 'connect' is missing: {text}")
        attach = msgspec.convert(given, AttachArguments)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise AttachError(f"attach configuration: {error}") from None
    check_names(given, AttachArguments, AttachError, "attach configuration")
    return attach
