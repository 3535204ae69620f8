"""How a model runs under the debugger: decoding, hooks, stepping, parking. Knows no DAP."""
