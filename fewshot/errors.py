"""The one exception that is meant for the user's eyes."""


class FewShotError(ValueError):
    """A mistake the user can mend: one line that says what is wrong, with the numbers, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """
