"""The one exception that is meant for the user's eyes, and how those of libraries become one."""

from collections.abc import Iterator
from contextlib import contextmanager

LONGEST_WORD, LONGEST_LINE = 200, 1200


class FewShotError(ValueError):
    """A mistake the user can mend: one line that says what is wrong, with the numbers, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


@contextmanager
def blaming(option: str) -> Iterator[None]:
    """Says of which option it is what a library complains about.

    Args:
        option: As it is typed, such as ``--trainer``.

    Raises:
        FewShotError: In place of any exception but this.
    """
    try:
        yield
    except FewShotError:
        raise
    except Exception as error:
        raise FewShotError(f"{option}: {gist(error)}") from error


def gist(error: BaseException) -> str:
    """What an exception says, in one line; its type, too, if that says more."""
    text = one_line(str(error))
    if not text or isinstance(error, (LookupError, ArithmeticError, AssertionError, RecursionError, MemoryError)):
        return f"{type(error).__name__}: {text}".rstrip(": ")
    return text


def one_line(text: str) -> str:
    """A text as one line, its endless words cut short."""
    words = (word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}…" for word in text.split())
    line = " ".join(words)
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} … {line[-half:]}"
