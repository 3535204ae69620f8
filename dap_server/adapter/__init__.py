"""The process that the editor talks to. No torch, no asyncio: it answers `initialize` before they could be imported."""
