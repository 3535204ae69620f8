"""The command `llm-dap`. Imports only the part that is asked for."""

from __future__ import annotations

import sys

USAGE = """\
llm-dap: a debugger for language models

  llm-dap run MODEL --prompt TEXT [--break NAME] …   debug in the terminal
  llm-dap debug [--break NAME] … FILE | -m MODULE …  debug a Python program, and the models that it calls
  llm-dap listen [--port N] FILE | -m MODULE …       run a Python program, and let editors attach to it
  llm-dap attach [HOST:]PORT                         debug a program that listens, in the terminal
  llm-dap demo                                       the same, on the example model
  llm-dap map MODEL [-o FILE]                        the model as text: every module on a line, to set breakpoints on
  llm-dap adapter [--host HOST] [--port PORT]        a debug adapter on stdio, or a server, for editors
  llm-dap language-server                            help in maps of models, on stdio, for editors
  llm-dap schema                                     the launch configuration and our own messages, as JSON schema
  llm-dap --version

'llm-dap COMMAND --help' tells more."""


def main(argv: list[str] | None = None) -> int:
    """Runs one command. Returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    command, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    match command:
        case "adapter":
            return _adapter(rest)
        case "engine":
            return _engine(rest)
        case "run":
            from dap_server.terminal.main import run

            return run(rest)
        case "debug":
            from dap_server.terminal.program import run as run_program

            return run_program(rest)
        case "listen":
            from dap_server.engine.listen_command import main as listen

            return listen(rest)
        case "attach":
            from dap_server.terminal.attaching import attach

            return attach(rest)
        case "demo":
            from dap_server.terminal.demo import main as demo

            return demo(rest)
        case "map":
            from dap_server.engine.map_command import main as write_map

            return write_map(rest)
        case "language-server":
            return _language_server(rest)
        case "schema":
            return _schema()
        case "--version" | "-V":
            from dap_server import __version__

            print(f"llm-dap {__version__}")
            return 0
        case "--help" | "-h":
            print(USAGE)
            return 0
    print(f"llm-dap: unknown command '{command}'\n\n{USAGE}", file=sys.stderr)
    return 2


def _adapter(arguments: list[str]) -> int:
    if not arguments:
        from dap_server.adapter.main import serve_stdio

        return serve_stdio()
    import argparse

    parser = argparse.ArgumentParser(prog="llm-dap adapter", description="A debug adapter for editors.")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one")
    options = parser.parse_args(arguments)
    from dap_server.adapter.server import serve_tcp

    return serve_tcp(options.host, options.port)


def _language_server(arguments: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(
        prog="llm-dap language-server", description="A language server for maps of models, on standard streams."
    )
    parser.add_argument("--stdio", action="store_true", help="what some editors say; it always speaks on stdio")
    parser.parse_args(arguments)
    from dap_server.language.main import serve_stdio

    return serve_stdio()


def _schema() -> int:
    import json

    from dap_server.protocol.schema import own_schema

    print(json.dumps(own_schema(), indent=2))
    return 0


def _engine(arguments: list[str]) -> int:
    import argparse

    parser = argparse.ArgumentParser(prog="llm-dap engine", description="Started by the adapter; not for people.")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args(arguments)
    from dap_server.engine.main import main as engine

    engine(options.port)


if __name__ == "__main__":
    sys.exit(main())
