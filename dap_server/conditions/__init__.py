"""Conditions, hit conditions and log messages of breakpoints: read and checked before a model is there.

Import the module that holds a name; here is nothing, so that a process reads only what it needs.
"""
