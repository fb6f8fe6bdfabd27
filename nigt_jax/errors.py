"""The one kind of error that a user of the command line sees as a line instead of a traceback."""


class UserError(Exception):
    """The input was wrong. The message is one line: what is wrong, what was given, what is allowed."""


class RunError(Exception):
    """The run cannot go on through no mistake of the input (a full disk, numbers that are not finite)."""


class RunWarning(UserWarning):
    """The run goes on, but not as its user may expect. The message is one line: what happens instead, what to do."""
