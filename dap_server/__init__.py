"""A debugger for language models that speaks the Debug Adapter Protocol."""

__version__ = "0.1.0"
