"""How a command ends early: each has a message of one line and its own exit status (`cli.command.run_command`)."""


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
    """A run cannot go on, and what can be saved is saved: exit status 1."""


class Stopped(Exception):
    """A signal asked the run to stop, and what was trained is saved: exit status 75.

    Threads may be in the middle of something (a compilation, images being decoded): the program leaves without waiting
    for them, and without the interpreter's clean-up, which can crash on them.
    """
