"""What a command may end with besides an error of the adapter."""


class CommandError(Exception):
    """A command cannot be done; the text is for the user."""


class SessionEnded(Exception):
    """What was waited for cannot come any more; the text has the exit code and the end of the output."""
