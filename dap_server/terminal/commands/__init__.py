"""The commands of the terminal: each is one function in a table.

    @command("next", "n", help="run to the next module at this depth")
    def next_(debugger: Debugger, argument: str) -> None: ...

The modules of this package fill the table when they are imported, which `table.load` does.
"""
