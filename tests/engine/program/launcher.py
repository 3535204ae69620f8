"""Runs what its arguments name as a program of a session is run, without a session: FILE …, or -m MODULE …"""

import sys

from dap_server.engine.program import surroundings
from dap_server.engine.program.running import run_program
from dap_server.engine.program.script import Script
from dap_server.protocol.launch import LaunchArguments

if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    launch = (
        LaunchArguments(program=first, args=rest) if first != "-m" else LaunchArguments(module=rest[0], args=rest[1:])
    )
    script = Script(launch)
    surroundings.restore()
    run_program(script, ends=lambda code: None, say=lambda text: None)
