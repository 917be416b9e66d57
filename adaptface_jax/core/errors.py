"""How a command ends early: each has a one-line message and an exit status (`cli.command.run_command`)."""


class InputError(Exception):
    """Bad configuration or bad input, found before anything was written: exit status 2.

    The message is one line that says what is wrong, where, what was expected and what to do.

    >>> import adaptface_jax as af
    >>> try:
    ...     af.open("builtin", image_size=30)
    ... except af.InputError as error:
    ...     print(error)
    backbone.image_size: 30 is not a multiple of demo's patch size 14; the nearest is 28
    """


class RunError(Exception):
    """A run cannot continue, and what could be saved is saved: exit status 1."""


class Stopped(Exception):
    """A signal asked the run to stop, and its progress is saved: exit status 75.

    Threads may be in the middle of something (a compilation, images being decoded): the program exits without waiting
    for them, and without the interpreter's cleanup, which can crash on them.
    """
