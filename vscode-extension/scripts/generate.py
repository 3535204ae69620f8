"""Writes what the extension has from the Python Structs: `python vscode-extension/scripts/generate.py`, from the root.

- `src/protocol/messages.ts`: the types of all `llm/…` messages, of the debugger and of the language server, and of
  those of DAP that the extension uses.
- `package.json`: the schema of launch.json, with the description of every option.

With `--check` it writes nothing, and fails when they are not what it would write.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as shapes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from dap_server.adapter.requests import requests  # noqa: E402
from dap_server.protocol.attach import AttachArguments  # noqa: E402
from dap_server.protocol.launch import LaunchArguments  # noqa: E402
from dap_server.protocol.llm.language import LANGUAGE_REQUESTS  # noqa: E402
from dap_server.protocol.llm.modules import ModelModule  # noqa: E402
from dap_server.protocol.llm.tables import LLM_EVENTS, LLM_REQUESTS  # noqa: E402
from dap_server.protocol.tables import EVENTS, REQUESTS, RequestType  # noqa: E402

MESSAGES = ROOT / "vscode-extension" / "src" / "protocol" / "messages.ts"
MANIFEST = ROOT / "vscode-extension" / "package.json"

DAP_REQUESTS = (
    "threads",
    "stackTrace",
    "scopes",
    "variables",
    "evaluate",
    "goto",
    "gotoTargets",
    "next",
    "stepBack",
    "stepIn",
    "stepOut",
    "reverseContinue",
    "continue",
    "pause",
    "loadedSources",
    "readMemory",
    "completions",
    "setFunctionBreakpoints",
    "modules",
    "restartFrame",
    "exceptionInfo",
    "dataBreakpointInfo",
)
"""What the extension asks in DAP's own words, beside what the editor asks."""
DAP_EVENTS = ("stopped", "continued", "output", "invalidated")

HEAD = """\
// Made by scripts/generate.py from the Structs of dap_server/protocol, not by hand.
//
// What has a default may be left out, on either side: the debugger leaves out what equals its default.
"""


# ---------------------------------------------------------------------------------------------------- the types


def messages() -> str:
    """All of messages.ts."""
    asked = {name: LLM_REQUESTS[name] for name in LLM_REQUESTS if name in requests.handlers}
    asked |= {name: REQUESTS[name] for name in DAP_REQUESTS}
    told = {**LLM_EVENTS, **{name: EVENTS[name] for name in DAP_EVENTS}}
    structs: dict[type, shapes.StructType] = {}
    requests_of_both = [*asked.values(), *LANGUAGE_REQUESTS.values()]
    for message in [t for request in requests_of_both for t in request] + [
        *told.values(),
        LaunchArguments,
        ModelModule,
    ]:
        if message is not None:
            _collect(shapes.type_info(message), structs)
    parts = [HEAD]
    parts += [_interface(struct) for struct in sorted(structs.values(), key=lambda struct: struct.cls.__name__)]
    parts.append(_requests("Requests", "What the extension may ask, by its name on the wire.", asked))
    parts.append(_requests("LanguageRequests", "What it may ask of the language server.", LANGUAGE_REQUESTS))
    parts.append(_events(told))
    return "\n".join(parts)


def _requests(name: str, what: str, asked: dict[str, RequestType]) -> str:
    rows = [
        f'  "{command}": {{ arguments: {_named(request.arguments)}; body: {_named(request.body)} }};\n'
        for command, request in asked.items()
    ]
    return f"/** {what} */\nexport interface {name} {{\n" + "".join(rows) + "}\n"


def _events(told: dict[str, type | None]) -> str:
    rows = [f'  "{name}": {_named(body)};\n' for name, body in told.items()]
    return (
        "/** What the debugger tells, by its name on the wire. */\nexport interface Events {\n" + "".join(rows) + "}\n"
    )


def _named(struct: type | None) -> str:
    return struct.__name__ if struct is not None else "undefined"


def _collect(kind: shapes.Type, structs: dict[type, shapes.StructType]) -> None:
    """Adds every Struct that `kind` is made of."""
    match kind:
        case shapes.Metadata():
            _collect(kind.type, structs)
        case shapes.UnionType():
            for part in kind.types:
                _collect(part, structs)
        case shapes.ListType():
            _collect(kind.item_type, structs)
        case shapes.DictType():
            _collect(kind.value_type, structs)
        case shapes.StructType() if kind.cls not in structs:
            same = next((cls for cls in structs if cls.__name__ == kind.cls.__name__), None)
            assert same is None, f"{same} and {kind.cls} would have one name"
            structs[kind.cls] = kind
            for field in kind.fields:
                _collect(field.type, structs)


def _interface(struct: shapes.StructType) -> str:
    documentation = field_documentation(struct.cls)
    lines = [*_comment(inspect.getdoc(struct.cls) if "__doc__" in vars(struct.cls) else None, "")]
    lines.append(f"export interface {struct.cls.__name__} {{")
    for field in struct.fields:
        described, kind = _described(field.type)
        text = " ".join(filter(None, [described, documentation.get(field.name), _default(field)]))
        lines += _comment(text, "  ")
        optional = "" if field.required else "?"
        lines.append(f"  {_key(field.encode_name)}{optional}: {_type(kind)};")
    return "\n".join([*lines, "}", ""])


def _described(kind: shapes.Type) -> tuple[str | None, shapes.Type]:
    """The description that stands in a field's annotation, and its type without it."""
    if isinstance(kind, shapes.Metadata):
        return (kind.extra_json_schema or {}).get("description"), kind.type
    return None, kind


def _default(field: shapes.Field) -> str | None:
    if field.default in (NODEFAULT, None):
        return None
    return f"Default: {json.dumps(field.default, ensure_ascii=False)}."


def _type(kind: shapes.Type) -> str:
    """In TypeScript. None becomes nothing at the top of a field: what is None is left out."""
    match kind:
        case shapes.Metadata():
            return _type(kind.type)
        case shapes.UnionType():
            parts = [part for part in kind.types if not isinstance(part, shapes.NoneType)]
            return " | ".join(dict.fromkeys(_type(part) for part in parts))
        case shapes.ListType():
            item = _type_or_null(kind.item_type)
            return f"({item})[]" if "|" in item else f"{item}[]"
        case shapes.DictType():
            return f"Record<string, {_type_or_null(kind.value_type)}>"
        case shapes.LiteralType():
            return " | ".join(json.dumps(value) for value in kind.values)
        case shapes.StructType():
            return kind.cls.__name__
        case shapes.IntType() | shapes.FloatType():
            return "number"
        case shapes.StrType():
            return "string"
        case shapes.BoolType():
            return "boolean"
    return "unknown"


def _type_or_null(kind: shapes.Type) -> str:
    nullable = isinstance(kind, shapes.UnionType) and any(isinstance(part, shapes.NoneType) for part in kind.types)
    return _type(kind) + (" | null" if nullable else "")


def _key(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else json.dumps(name)


def _comment(text: str | None, indent: str) -> list[str]:
    """As a documentation comment of at most 120 columns."""
    if not text:
        return []
    text = text.replace("*/", "*\\/")
    if "\n" not in text and len(indent) + len(text) + 7 <= 120:
        return [f"{indent}/** {text} */"]
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, 117 - len(indent)) or [""]]
    return [f"{indent}/**", *(f"{indent} * {line}".rstrip() for line in lines), f"{indent} */"]


@cache
def field_documentation(cls: type) -> dict[str, str]:
    """What stands in quotes below the fields of a Struct, by their names in Python; inherited ones too."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if issubclass(base, msgspec.Struct) and base.__module__.startswith("dap_server."):
            found.update(_documented_fields(base))
    return found


def _documented_fields(cls: type) -> Iterator[tuple[str, str]]:
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                yield name, " ".join(words.split())


# ------------------------------------------------------------------------------------------- the schema of launch.json


def manifest(text: str) -> str:
    """package.json with the schema as it should be."""
    package = json.loads(text)
    (debugger,) = package["contributes"]["debuggers"]
    debugger["configurationAttributes"] = {"launch": options_of(LaunchArguments), "attach": options_of(AttachArguments)}
    return json.dumps(package, indent=2, ensure_ascii=False) + "\n"


def options_of(configuration: type) -> dict[str, Any]:
    """Of the options, as editors check them; what has to be given is left to the debugger, which says it better."""
    definitions = msgspec.json.schema(configuration)["$defs"]
    return _object(definitions[configuration.__name__], definitions)


def _object(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {name: _option(option, definitions) for name, option in schema["properties"].items()}}


def _option(option: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Without null, which a person leaves out instead, and without `anyOf` where one kind is left."""
    option = {key: value for key, value in option.items() if key != "default" or value is not None}
    if "$ref" in option:
        struct = definitions[option.pop("$ref").rpartition("/")[2]]
        return {**option, "type": "object", **_object(struct, definitions)}
    if isinstance(option.get("items"), dict):
        option["items"] = _option(option["items"], definitions)
    if "anyOf" not in option:
        return option
    kinds = [kind for kind in option.pop("anyOf") if kind != {"type": "null"}]
    return {**option, **kinds[0]} if len(kinds) == 1 else {**option, "anyOf": kinds}


# ------------------------------------------------------------------------------------------------------------------


def main(arguments: list[str]) -> int:
    made = {MESSAGES: messages(), MANIFEST: manifest(MANIFEST.read_text(encoding="utf-8"))}
    stale = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" not in arguments:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made[path], encoding="utf-8")
        return 0
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what the Structs say: make extension-types\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
