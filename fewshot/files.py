"""Files that are written whole or not at all."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

from fewshot.errors import FewShotError


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file to write and read, which takes the place of the old one when the block ends without an exception.

    It is written beside the old one: a full disk or a killed process leaves that whole.

    Raises:
        OSError: If it cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: If it cannot be written.
    """
    with whole_file(path) as file:
        file.write(content)


def write_text(path: str | Path, text: str) -> None:
    """The same with text, in UTF-8 everywhere; what came from a file's name that is none goes back as it was."""
    write_bytes(path, text.encode(errors="surrogateescape"))


def write_json(path: str | Path, value: Any) -> None:
    """The same with JSON: of a list a line per entry, of anything else a line per field."""
    text = "[\n" + ",\n".join(map(to_json, value)) + "\n]" if isinstance(value, list) else to_json(value, indent=2)
    write_text(path, f"{text}\n")


def to_json(value: Any, **options: Any) -> str:
    """A value as JSON that every reader takes: JSON has no word for a number that is not finite, and gets null.

    Args:
        value: What :func:`json.dumps` takes.
        **options: Those of :func:`json.dumps`.
    """
    return json.dumps(finite(value), allow_nan=False, **options)


def finite(value: Any) -> Any:
    """The value with ``None`` for each number in it that is not finite."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def make_folder(folder: Path) -> Path:
    """Makes the folder that ``--folder`` names, or one in it, if it is not there; returns it.

    Raises:
        FewShotError: If it cannot be.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FewShotError(f"--folder {folder} cannot be used: {error.strerror}") from None
    return folder
