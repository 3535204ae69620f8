"""The launch configuration: every option once, with the description that editors show for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from dap_server.protocol.errors import InvalidArguments, did_you_mean
from dap_server.protocol.messages import Struct

Console = Literal["internalConsole", "integratedTerminal", "externalTerminal"]
Dtype = Literal["auto", "float32", "float16", "bfloat16", "float64"]

MapOption = Annotated[
    str | None,
    Meta(description="Model map (.llmmap) that the stack points into. Default: one with breakpoints, or a new one."),
]
TokenOption = Annotated[str | None, Meta(description="Token that a listening adapter printed. Not needed over stdio.")]


class LaunchArguments(Struct):
    """What a session debugs and how: a model with a prompt, or a program. Paths are resolved from `cwd`."""

    model: Annotated[
        str | None,
        Meta(description="Folder of a model in transformers' format, or its id on the Hugging Face hub."),
    ] = None
    revision: Annotated[str | None, Meta(description="Branch, tag or commit of a model on the hub.")] = None
    prompt: Annotated[str | None, Meta(description="Text that the model continues, fills in or labels.")] = None
    prompts: Annotated[
        list[str] | None,
        Meta(description="Several texts as one padded batch, on the left where the model continues them."),
    ] = None
    messages: Annotated[
        list[dict[str, Any]] | None,
        Meta(description="A chat, put into the model's chat template: a list of {role, content}."),
    ] = None
    generation: Annotated[
        dict[str, Any],
        Meta(
            description="Options of transformers' GenerationConfig, such as max_new_tokens, do_sample, temperature. "
            "What is not given comes from the model's own generation_config.json. A text is read as JSON."
        ),
    ] = {}
    seed: Annotated[int | None, Meta(description="Seed of all random number generators, set before every run.")] = None
    dtype: Annotated[Dtype, Meta(description="Number format of the weights; 'auto' takes the checkpoint's own.")] = (
        "auto"
    )
    device: Annotated[str | None, Meta(description="Device of the whole model, such as 'cpu', 'cuda' or 'cuda:1'.")] = (
        None
    )
    device_map: Annotated[
        str | dict[str, int | str] | None,
        Meta(description="Placement over several devices as transformers' device_map takes it (needs accelerate)."),
    ] = None
    attn_implementation: Annotated[
        str | None, Meta(description="Attention kernels: 'eager', 'sdpa', 'flash_attention_2' …")
    ] = None
    trust_remote_code: Annotated[
        bool, Meta(description="Run Python code that comes with the model. Only for models that you trust.")
    ] = False
    map: MapOption = None
    stop_on_entry: Annotated[
        bool, Meta(description="Stop before the first forward pass, or before the first line of a program.")
    ] = False
    stop_at_end: Annotated[
        bool | None,
        Meta(description="Stop once more after the last token. By default yes when debugging, no with noDebug."),
    ] = None
    no_debug: Annotated[bool, Meta(description="Run without breakpoints and stops.")] = False
    program: Annotated[
        str | None, Meta(description="Python file that is run unchanged: its models are debugged when it calls them.")
    ] = None
    module: Annotated[str | None, Meta(description="The same for a module, as `python -m` runs it.")] = None
    args: Annotated[list[str], Meta(description="Arguments of the program or module.")] = []
    python_debugger: Annotated[
        bool, Meta(description="Whether debugpy may be used in the process, for breakpoints on lines of Python.")
    ] = True
    just_my_code: Annotated[
        bool, Meta(description="Whether stepping by lines passes over libraries, whose frames are shown greyed out.")
    ] = True
    python: Annotated[
        str | None,
        Meta(description="Python interpreter that runs the model; it needs llm-dap and torch. Default: the adapter's."),
    ] = None
    cwd: Annotated[str | None, Meta(description="Working directory of the model's process.")] = None
    env: Annotated[
        dict[str, str | None], Meta(description="Environment variables to set, or to remove when null.")
    ] = {}
    console: Annotated[
        Console, Meta(description="Where the model's process runs: the debug console or a terminal of the editor.")
    ] = "internalConsole"
    token: TokenOption = None

    @property
    def is_program(self) -> bool:
        return self.program is not None or self.module is not None

    @property
    def subject(self) -> str:
        """What is debugged, as the person named it."""
        return self.program or self.module or self.model or ""

    @property
    def title(self) -> str:
        """What beginning with it is called."""
        return f"{'Starting' if self.is_program else 'Loading'} {self.subject}"

    @property
    def stops_at_end(self) -> bool:
        return not (self.no_debug or self.is_program) if self.stop_at_end is None else self.stop_at_end

    @property
    def model_identity(self) -> tuple[object, ...]:
        """Equal for configurations that can share one loaded model in one process."""
        return tuple(
            msgspec.json.encode(getattr(self, field))
            for field in (
                "model",
                "revision",
                "dtype",
                "device",
                "device_map",
                "attn_implementation",
                "trust_remote_code",
                "python",
                "cwd",
                "env",
                "console",
                "python_debugger",
            )
        )


EDITOR_OPTIONS = frozenset(
    {
        "name",
        "type",
        "request",
        "presentation",
        "preLaunchTask",
        "postDebugTask",
        "internalConsoleOptions",
        "debugServer",
        "serverReadyAction",
        "suppressMultipleSessionWarning",
        "windows",
        "linux",
        "osx",
        "restart",
    }
)
"""Keys of launch.json that belong to editors; whatever starts with `__` does too."""


def parse_launch(arguments: bytes) -> LaunchArguments:
    """The launch configuration of a `launch` or `restart` request.

    Raises:
        InvalidArguments: a value of the wrong type, a misspelt option, or options that do not go together; the text
            says what to do.
    """
    try:
        given = msgspec.json.decode(arguments or b"{}", type=dict[str, Any])
        if isinstance(given.get("generation"), str):  # settings of Helix have no objects
            given["generation"] = _options(given["generation"])
        launch = msgspec.convert(given, LaunchArguments)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise LaunchError(f"launch configuration: {error}") from None
    check_names(given, LaunchArguments, LaunchError, "launch configuration")
    _check_choice(launch)
    return launch


def _options(text: str) -> object:
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError as error:
        raise LaunchError(f"launch configuration: the text is no JSON: {error} - at `$.generation`") from None


class LaunchError(InvalidArguments):
    """The launch configuration is wrong: its author should see why."""

    show_user = True


def check_names(given: Iterable[str], options: type[Struct], error: type[InvalidArguments], configuration: str) -> None:
    """Raises the error for the name of an option that is close to one of these, and none of anybody's."""
    known = [field.encode_name for field in msgspec.structs.fields(options)]
    for name in given:
        if name in known or name in EDITOR_OPTIONS or name.startswith("__"):
            continue
        if hint := did_you_mean(name, known):
            raise error(f"{configuration}: unknown option '{name}'{hint}")


OF_PROMPTS = (
    "revision", "prompt", "prompts", "messages", "generation", "seed", "dtype", "device", "device_map",
    "attn_implementation", "trust_remote_code",
)  # fmt: skip
"""Options that say what a program says for itself."""


def _check_choice(launch: LaunchArguments) -> None:
    subjects = {"model": launch.model, "program": launch.program, "module": launch.module}
    if len(given := [name for name, value in subjects.items() if value]) > 1:
        found = " and ".join(given)
        raise LaunchError(f"launch configuration: give one of 'model', 'program' and 'module'; found {found}")
    if not given:
        choices = "give a model folder or a hub id, or a 'program' or 'module' to run"
        raise LaunchError(f"launch configuration: 'model' is missing: {choices}")
    if launch.is_program:
        _check_program(launch)
    else:
        _check_prompt(launch)


def _check_program(launch: LaunchArguments) -> None:
    for field in msgspec.structs.fields(LaunchArguments):
        if field.name in OF_PROMPTS and getattr(launch, field.name) not in (field.default, {}):
            name, kind = field.encode_name, "program" if launch.program is not None else "module"
            raise LaunchError(
                f"launch configuration: '{name}' goes with a 'model', not with a '{kind}', which says so itself"
            )


def _check_prompt(launch: LaunchArguments) -> None:
    if launch.args:
        raise LaunchError("launch configuration: 'args' goes with a 'program' or a 'module', not with a 'model'")
    inputs = {"prompt": launch.prompt, "prompts": launch.prompts, "messages": launch.messages}
    given = [name for name, value in inputs.items() if value is not None]
    if len(given) != 1:
        found = f"found {' and '.join(given)}" if given else "found none"
        raise LaunchError(f"launch configuration: give exactly one of 'prompt', 'prompts' and 'messages'; {found}")
    if [] in (launch.prompts, launch.messages):
        raise LaunchError(f"launch configuration: '{given[0]}' is empty")
    if launch.seed is not None and not 0 <= launch.seed < 2**32:
        raise LaunchError("launch configuration: 'seed' has to be a number from 0 to 4294967295")
    if launch.device and launch.device_map:
        raise LaunchError("launch configuration: give 'device' or 'deviceMap', not both")
