"""The one error a user is meant to read."""


class InputError(Exception):
    """Bad configuration or bad input, found before anything was written.

    The message is one line that says what is wrong, where, what was expected and what to do.
    `cli.run` prints it without a traceback and exits with status 2.
    """
