"""What is said of a place when the pointer rests on it."""

from __future__ import annotations

from collections.abc import Iterator

from lsprotocol import types

from dap_server.conditions.names import NAMES
from dap_server.language.conditions import place_kind
from dap_server.language.documents import Document
from dap_server.language.quantities import memory, share
from dap_server.modelmap.text import MapLine, MapText, written_flops

SELECTION = {
    "step": "The generation step: one forward pass of the model, which makes one token. Step 0 is the prefill.",
    "logits": "The scores of the next token as the model gave them, before any logits processor.",
    "sample": "The choice of the token, from the scores that the logits processors left.",
}


def hover(document: Document, position: types.Position) -> types.Hover | None:
    found = document.place_at(position)
    if found is None:
        return None
    number, line = found
    text = "\n\n".join(_selection(line) if line.kind == "selection" else _module(document.map, line))
    content = types.MarkupContent(types.MarkupKind.Markdown, text)
    return types.Hover(content, document.range(number, document.map.spans[number]["path"]))


def _module(text: MapText, line: MapLine) -> Iterator[str]:
    name = "the whole model" if not line.path else f"`{line.path}`"
    yield f"**{name}**" + (f" · `{line.class_name}`" if line.class_name else "")
    if line.inputs and line.output:
        yield f"`{line.inputs} → {line.output}`"
    whole = text.lines.get(text.line_of("") or 0)
    rows = list(_numbers(text, line, whole))
    if rows:
        yield "\n".join(["| | |", "|:--|:--|", *(f"| {name} | {value} |" for name, value in rows)])
    if not line.can_stop:
        yield f"{line.why_not}."
    elif line.note:
        yield line.note
    instances = sum(other.class_name == line.class_name for other in text.lines.values())
    module = text.classes.get(line.class_name)
    if module or instances > 1:
        several = f"one of {instances} in this model" if instances > 1 else "the only one in this model"
        yield f"{several}, written in `{module}`" if module else several


def _numbers(text: MapText, line: MapLine, whole: MapLine | None) -> Iterator[tuple[str, str]]:
    parts = line is not whole
    if line.parameters is not None:
        total = (whole.parameters if whole else None) or text.parameters
        yield "parameters", f"{line.parameters:,}{share(line.parameters, total) if parts else ''}"
        if size := memory(line.parameters, text.dtype):
            yield "memory", size
    if line.flops is not None:
        total = whole.flops if whole else None
        yield "operations", f"{written_flops(line.flops)} per token{share(line.flops, total) if parts else ''}"


def _selection(line: MapLine) -> Iterator[str]:
    yield f"**`{line.path}`** · token selection"
    kind = place_kind(line)
    if line.path in SELECTION:
        yield SELECTION[line.path]
    else:
        yield "A logits processor: it changes the scores of the next token."
        if line.note:
            yield f"`generate` makes it when its options ask for it: `{line.note}`"
    names = [name.name for name in NAMES.values() if kind in name.where and kind not in NAMES["path"].where]
    names = names or [name.name for name in NAMES.values() if kind in name.where]
    yield "Names of conditions here: " + ", ".join(f"`{name}`" for name in names)
