"""The same picture in several places: two labels for one, or a query whose label is given."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from fewshot.errors import listed


def same_content(files: Sequence[str], support: Sequence[str]) -> dict[str, list[str]]:
    """The support files that hold the same bytes as a file, for each of the files that has such; itself is one, too."""
    sizes = {_size(file) for file in support} - {None}
    known: dict[bytes, list[str]] = defaultdict(list)
    for file in support:
        if _size(file) in sizes:
            known[_digest(file)].append(file)
    found = {file: known.get(_digest(file), []) for file in files if _size(file) in sizes}
    return {file: others for file, others in found.items() if others}


def told_of_copies(support: Sequence[str], query: Sequence[str]) -> Iterator[str]:
    """Says, a line each, which support pictures are in two classes, and which queries are support pictures.

    Args:
        support: Files, those of each class in a folder of its own.
        query: Files.
    """
    pairs = [
        f"{file} = {other}"
        for file, others in same_content(support, support).items()
        for other in others
        if file < other and os.path.dirname(file) != os.path.dirname(other)
    ]
    if pairs:
        yield f"The same picture is in two classes: {listed(pairs)}. Delete it where it does not belong."
    again = [*same_content(query, support)]
    if again:
        yield (
            f"{len(again)} of the {len(query)} pictures are support pictures, too, so that it says nothing if they "
            f"come out right: {listed(again)}."
        )


def _size(file: str) -> int | None:
    """Bytes of a file; ``None`` of what cannot be read as one."""
    try:
        return os.stat(file).st_size if os.path.isfile(file) and os.access(file, os.R_OK) else None
    except OSError:
        return None


def _digest(file: str) -> bytes:
    return hashlib.blake2b(Path(file).read_bytes()).digest()
