"""What is printed: as it is, on any terminal."""

import codecs
import io
import sys

from rich.console import Console

SPELLED = {"±": "+/-"}
"""How to write what a terminal may not have."""


def console() -> Console:
    """A console that prints a path as it is, even if there is ``[/red]`` or ``:smile:`` in it."""
    return Console(markup=False, emoji=False)


def make_printable() -> None:
    """Has stdout and stderr replace what their encoding cannot express, where they would raise an error."""
    codecs.register_error("fewshot", _replacement)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="fewshot")


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(SPELLED.get(sign, "?") for sign in error.object[error.start : error.end]), error.end
