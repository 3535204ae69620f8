"""What the documentation names exists, and what it lists is complete."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import dap_server
from dap_server.__main__ import USAGE
from dap_server.adapter.requests import requests
from dap_server.conditions.expressions import parse_condition
from dap_server.conditions.hits import parse_hit_condition
from dap_server.conditions.log_messages import parse_log_message
from dap_server.conditions.names import BUILTINS, PlaceKind
from dap_server.conditions.phases import check
from dap_server.engine.analysis.edits.interventions import NAMES as INTERVENTIONS
from dap_server.language.server import HANDLERS
from dap_server.modelmap.patterns import parse_pattern
from dap_server.protocol.errors import RequestError
from dap_server.protocol.launch import LaunchArguments, parse_launch
from dap_server.protocol.llm.language import LANGUAGE_REQUESTS
from dap_server.protocol.llm.tables import LLM_EVENTS, LLM_REQUESTS
from dap_server.terminal import program
from dap_server.terminal.commands.table import parse
from dap_server.terminal.main import _parser
from tests.docs import anomalies_table, launch_table, names_table

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "dap_server"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("fixtures/**/README.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

PLACE_OF: dict[str, PlaceKind] = {"sample": "sample", "logits": "logits"}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def identify(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: str) -> str:
    return BLOCK.sub("", page)


def headings(page: str) -> set[str]:
    """As the part of an address after `#`, in the way of GitHub."""
    found = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `llm-dap …` in a shell block or in running text, and its words."""
    for page in (ROOT / "README.md", ROOT / "docs" / "protocol.md"):
        content = page.read_text(encoding="utf-8")
        blocks = "\n".join(body for kind, body in BLOCK.findall(content) if kind in ("", "sh"))
        lines = [line.split("#")[0] for line in blocks.splitlines()]
        inline = re.findall(r"`([^`\n]+)`", prose(content))
        for line in [*lines, *inline]:
            if line.strip().startswith("llm-dap "):
                yield line.strip(), shlex.split(line)


@pytest.mark.parametrize("page", PAGES, ids=identify)
def test_links_lead_somewhere(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(content)):
        if re.match(r"https?:", target):
            continue
        path, _, part = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{identify(page)} links to {target}"
        assert not part or part in headings(file.read_text(encoding="utf-8")), f"{identify(page)} links to {target}"


@pytest.mark.parametrize(
    "page", ["README.md", "docs/architecture.md", "docs/language-server.md", "docs/protocol.md", "CONTRIBUTING.md"]
)
def test_files_that_are_named_exist(page: str) -> None:
    """A name may leave out the folders in front that are clear from the text."""
    named = re.findall(r"`((?:[\w.-]+/)+[\w.-]*|[\w-]+\.(?:py|md|txt|toml))(?::[^`]*)?`", text(page))
    ours = [name for name in named if not name.startswith(("llm/", "path/to/", "textDocument/", "workspace/"))]
    missing = [name for name in ours if not (ROOT / name).exists() and not any(PACKAGE.glob(f"**/{name}"))]
    assert not missing, f"{page} names {missing}"


def test_the_packages_in_the_architecture_are_those_that_exist() -> None:
    tree = text("docs/architecture.md").split("## The packages")[1].split("Imports run")[0]
    packages = {path.parent.name for path in PACKAGE.glob("**/__init__.py")} - {"dap_server"}
    inside = packages - {"commands"}  # of the terminal; a level that the tree does not show
    assert inside <= set(re.findall(r"^\s+(\w+)/", tree, re.MULTILINE))


def test_commands_that_are_named_exist() -> None:
    found = list(commands())
    assert {words[1] for _, words in found} >= {"run", "adapter"}
    known = set(re.findall(r"^  llm-dap ([\w-]+)", USAGE, re.MULTILINE))
    for line, words in found:
        assert words[1] in known, f"{line}: no such command"


def test_options_that_are_named_exist(capsys: pytest.CaptureFixture[str]) -> None:
    debug = program._parser().format_help()
    options = {"run": _parser().format_help(), "debug": debug, "adapter": USAGE, "demo": "", "--version": ""}
    for line, words in commands():
        ours = itertools.takewhile(lambda word: not word.endswith(".py"), words)  # what follows is the program's
        for option in list(ours)[2:]:
            assert not option.startswith("-") or option in options[words[1]], f"{line}: no option {option}"
        if words[1] == "run" and "MODEL" not in words:
            _parser().parse_args(words[2:])
    assert capsys.readouterr().err == ""


def test_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):.*##", text("Makefile"), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "docs/protocol.md", "docs/architecture.md", "docs/extension.md"):
        named = re.findall(r"(?:`|^ {4}|^)make ([\w-]+)", text(page), re.MULTILINE)
        assert set(named) <= targets, page


def test_commands_of_the_terminal_in_the_transcript_exist() -> None:
    typed = re.findall(r"^\(llm\) (.+)$", text("README.md"), re.MULTILINE)
    assert len(typed) > 5
    for line in typed:
        assert parse(line) is not None or line.partition("(")[0] in INTERVENTIONS, f"(llm) {line}"


def test_the_table_of_launch_options_is_fresh() -> None:
    page = text("docs/protocol.md")
    assert page == launch_table.with_table(page), "python -m tests.docs.launch_table writes it"


def test_the_table_of_names_is_fresh() -> None:
    page = text("docs/conditions.md")
    assert page == names_table.with_table(page), "python -m tests.docs.names_table writes it"


def test_the_tables_of_anomalies_are_fresh() -> None:
    page = anomalies_table.PAGE.read_text(encoding="utf-8")
    assert page == anomalies_table.with_tables(page), "python -m tests.docs.anomalies_table writes them"


def test_the_builtins_of_conditions_are_those_that_are_named() -> None:
    named = text("docs/conditions.md").split("Of Python's builtins there are")[1].split(".")[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(BUILTINS)


def test_conditions_in_the_documentation_are_possible() -> None:
    page = text("docs/conditions.md")
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| ", page.split("### Before")[0], re.MULTILINE)
    assert len(rows) > 10
    for name, condition in rows:
        pattern = parse_pattern(name)
        check(
            parse_condition(condition),
            PLACE_OF.get(name, "operation" if pattern.operation else "module"),
            pattern.phase,
        )
    rows = re.findall(r"^\| (`.+`) \|", page.split("## Hit")[1].split("## Log")[0], re.MULTILINE)
    hits = [hit for row in rows for hit in re.findall(r"`([^`]+)`", row)]
    assert len(hits) > 5
    for hit in hits:
        parse_hit_condition(hit)
    messages = re.findall(r"^\| `([^`]+)` \| `", page.split("## Log")[1], re.MULTILINE)
    assert len(messages) > 3
    for message in messages:
        parse_log_message(message)


def test_launch_configurations_in_the_documentation_are_valid() -> None:
    blocks = [body for kind, body in BLOCK.findall(text("README.md")) if kind in ("json", "jsonc")]
    for body in blocks:
        parse_launch(body.encode())


def test_every_request_is_described() -> None:
    page = text("docs/protocol.md")
    for command in requests.handlers:
        assert re.search(rf"^\| (`\w+` )*`{command}`", page, re.MULTILINE), f"{command} is missing in docs/protocol.md"
    rows = page.split("## Requests")[1].split("##")[0]
    named = [name for row in re.findall(r"^\| ((?:`[\w/]+` )+)\|", rows, re.MULTILINE) for name in row.split()]
    assert {name.strip("`") for name in named} <= set(requests.handlers)


def test_every_message_of_our_own_is_described() -> None:
    rows = text("docs/protocol.md").split("## Messages of our own")[1]
    named = set(re.findall(r"^\| `(llm/\w+)`", rows, re.MULTILINE))
    assert named == {*LLM_REQUESTS, *LLM_EVENTS}


def test_every_request_of_our_own_to_the_language_server_is_described() -> None:
    named = set(re.findall(r"^\| `(llm/\w+)`", text("docs/language-server.md"), re.MULTILINE))
    assert named == LANGUAGE_REQUESTS.keys()


def test_what_the_language_server_answers_is_described() -> None:
    methods = {method for method, *_ in HANDLERS if method.startswith("textDocument/") and "/did" not in method}
    page = text("docs/language-server.md").split("## What it answers")[1].split("## ")[0]
    missing = [method for method in methods if f"{method.split('/')[1]}`" not in page.replace("textDocument/", "`")]
    assert not missing


def test_every_kind_of_error_is_described() -> None:
    for module in pkgutil.walk_packages(dap_server.__path__, "dap_server."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    rows = text("docs/protocol.md").split("## Errors")[1].split("##")[0]
    numbers = {int(number) for number in re.findall(r"^\| (\d+) \|", rows, re.MULTILINE)}
    assert numbers == {kind.id for kind in kinds(RequestError)}


def kinds(base: type[RequestError]) -> Iterator[type[RequestError]]:
    yield base
    for kind in base.__subclasses__():
        if kind.__module__.startswith("dap_server."):
            yield from kinds(kind)


def test_launch_options_have_descriptions() -> None:
    rows = launch_table.table(LaunchArguments).splitlines()[2:]
    assert len(rows) == len(LaunchArguments.__struct_fields__)
    assert all(row.rstrip(" |").endswith((".", "…")) for row in rows)


def test_the_map_that_is_explained_is_that_of_the_example_model() -> None:
    """Some of its lines, with other blanks between their fields."""

    def fields(text: str) -> list[str]:
        return [" ".join(line.split()) for line in text.splitlines()]

    explained = (ROOT / "docs" / "model-map.md").read_text(encoding="utf-8").partition("## How to read it\n\n")[2]
    made = fields((ROOT / "fixtures" / "maps" / "atlas.llmmap").read_text(encoding="utf-8"))
    assert [line for line in fields(explained.partition("\n\n")[0]) if line not in made] == []
