"""How a command ends early: each has a message of one line and its own exit status (`cli.run`)."""


class InputError(Exception):
    """Bad configuration or bad input, found before anything was written: exit status 2.

    The message is one line that says what is wrong, where, what was expected and what to do.
    """


class RunError(Exception):
    """A run cannot go on, and what can be saved is saved: exit status 1."""


class Stopped(Exception):
    """A signal asked the run to stop, and what was trained is saved: exit status 75.

    at_once: threads may be in the middle of something (a compilation, images being decoded); leave without waiting for
    them, and without the interpreter's clean-up, which can crash on them.
    """

    def __init__(self, message: str, at_once: bool = False) -> None:
        super().__init__(message)
        self.at_once = at_once
