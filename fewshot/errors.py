"""The one exception that is meant for the user's eyes, the ranges of numbers, and what libraries say, in one line."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

LONGEST_WORD, LONGEST_LINE = 200, 1200
FLOAT32_MAX = 3.4e38


class FewShotError(ValueError):
    """A mistake the user can mend: one line that says what is wrong, with the numbers, and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


class CannotDoError(FewShotError):
    """What one learner cannot do, and another can, as to judge episodes of other ways than it was trained on."""


def at_least(least: int, **counts: int) -> None:
    """Refuses smaller numbers, and ``None``, which jsonargparse lets through.

    Raises:
        FewShotError: With the first of them.
    """
    for name, value in counts.items():
        if value is None or value < least:
            raise FewShotError(f"{name} must be at least {least}, not {value}")


def at_least_one(**counts: int) -> None:
    """Refuses numbers below 1; see :func:`at_least`."""
    at_least(1, **counts)


def in_range(low: float, high: float, **numbers: float) -> None:
    """Refuses numbers below or above what they can be, and ``None``.

    Raises:
        FewShotError: With the first of them.
    """
    for name, value in numbers.items():
        if value is None or value < low:
            raise FewShotError(f"{name} must be at least {low}, not {value}")
        if value > high:
            raise FewShotError(f"{name} must be at most {high}, not {value}")


def positive(**values: float) -> None:
    """Refuses numbers that are not positive, or that float32 takes for infinite.

    Raises:
        FewShotError: With the first of them.
    """
    for name, value in values.items():
        if value is None or not value > 0:
            raise FewShotError(f"{name} must be positive, not {value}")
        if value > FLOAT32_MAX:
            raise FewShotError(f"{name} must be a number that float32 can hold, up to {FLOAT32_MAX}, not {value}")


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


def listed(items: Sequence[object]) -> str:
    """Some of the items, for a line: ``a, b, c, d, e and 12 more``."""
    more = f" and {len(items) - 5} more" if len(items) > 5 else ""
    return ", ".join(map(str, items[:5])) + more


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """A question to put behind a message about what was mistyped; nothing if no name is like it.

    Args:
        word: As typed.
        names: What there is.
    """
    by_lower, lower = {name.lower(): name for name in names}, word.lower()
    like = [name for name in by_lower if len(lower) > 1 and name.startswith(lower)]
    like += get_close_matches(lower, by_lower, n=1)
    return f"; did you mean {' or '.join(by_lower[name] for name in list(dict.fromkeys(like))[:2])}?" if like else ""


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
