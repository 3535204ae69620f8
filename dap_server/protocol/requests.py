"""Every request's arguments and its response's body, under the specification's names.

The arguments are `XArguments` (`XRequestArguments` where the specification says so), the body is `XResponseBody`.
`initialize` answers `Capabilities`; requests that are only acknowledged have no body.
"""

from dap_server.protocol.control_requests import *
from dap_server.protocol.state_requests import *
