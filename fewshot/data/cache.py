"""Images that are made ready once: kept in a file for the next run, and mapped from it into memory.

The file holds the images as they are, row after row; then one line of JSON, which says what they are of; and at the end
how long that line is, and a checksum of all before. It is one file, so a crash leaves no half of it.
"""

import errno
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_warn

from fewshot.data.store import ImageStore
from fewshot.errors import FewShotError, gist
from fewshot.files import whole_file

MOST_IN_MEMORY = 2**30
"""Bytes of images that are kept in memory, if need be, where they cannot be kept in a file."""

FOOTER = 16  # hexadecimal digits: eight of a length, eight of a checksum
BLOCK = 2**20  # bytes that are read at once
ABANDONED = 3600  # seconds after which nobody goes on with an unfinished file

Notes = dict[str, Any]
"""What is to be remembered beside the images, as JSON."""

Parts = Iterable[tuple[str, np.ndarray]]
"""Images to be kept, class after class: the name of a class, and some more images of it, ``uint8`` ``[n, C, H, W]``."""


class Kept(NamedTuple):
    """What a cache gives back.

    Attributes:
        store: The images.
        notes: What was noted when they were made.
    """

    store: ImageStore
    notes: Notes


_in_memory: dict[Path, tuple[str, Kept]] = {}


def cache_folder(chosen: str | None = None) -> Path:
    """The folder asked for, or ``~/.cache/fewshot``."""
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "fewshot")).expanduser()


def cached(file: Path, key: str, make: Callable[[Notes], Parts], size: int = 0) -> Kept:
    """The images that ``make`` makes, from a file where they were made with the same key.

    Args:
        file: Where they are kept; written whole or not at all. They are made again where it is of another key, and with
            a warning where it is damaged.
        key: What they are made of.
        make: Makes them, and may note down what is to be kept beside them.
        size: How many bytes they take at most, if that is known.

    Raises:
        FewShotError: If they can neither be kept in the file nor in memory.
    """
    if _in_memory.get(file, ("",))[0] != key:
        _in_memory[file] = key, _read(file, key) or _make(file, key, make, size)
    return _in_memory[file][1]


def forget(file: Path) -> None:
    """Has the images of a file made again."""
    _in_memory.pop(file, None)
    file.unlink(missing_ok=True)


def _read(file: Path, key: str) -> Kept | None:
    """What is in the file, or None if that is damaged, or of another key, as after a change of what was decoded."""
    try:
        with file.open("rb") as opened:
            index, start = _index(opened)
            return _mapped(opened, index, start) if index["key"] == key else None
    except FileNotFoundError:
        pass
    except Exception as error:
        rank_zero_warn(f"The cache {file} cannot be used ({gist(error)}); its images are made again.")
    return None


def _index(file: BinaryIO) -> tuple[dict[str, Any], int]:
    """What the images in the file are of, and where the line that says so begins.

    Raises:
        ValueError: If a byte of the file is not what was written.
    """
    size = file.seek(0, os.SEEK_END) - FOOTER
    file.seek(max(size, 0))
    footer = file.read(FOOTER)
    # Read, not mapped: what is mapped and looked at counts as memory of this process.
    file.seek(0)
    checksum, buffer = 0, memoryview(bytearray(BLOCK))
    for start in range(0, size, BLOCK):
        read = file.readinto(buffer[: min(BLOCK, size - start)])  # type: ignore[attr-defined]
        checksum = zlib.crc32(buffer[:read], checksum)
    checksum = zlib.crc32(footer[:8], checksum)
    if footer[8:] != b"%08x" % checksum:
        raise ValueError("its checksum does not fit")
    start = size - int(footer[:8], 16)
    file.seek(start)
    return json.loads(file.read(size - start)), start


def _mapped(file: BinaryIO, index: dict[str, Any], end: int) -> Kept:
    """The images that a file holds before their index.

    Raises:
        ValueError: If they are not as many as that says.
    """
    shape = tuple(index["shape"])
    if np.prod(shape, dtype=object) != end:
        raise ValueError(f"it holds {end} bytes of images, not {list(shape)}")
    # Copy on write: nobody can change the file, and torch does not warn of an array that is read-only.
    images = torch.from_numpy(np.memmap(file, np.uint8, "c", shape=shape))
    return Kept(ImageStore.of_rows(images, index["counts"], index["names"]), index["notes"])


def _make(file: Path, key: str, make: Callable[[Notes], Parts], size: int) -> Kept:
    """Makes the images, in the file; in memory, with a warning, if that cannot be written and they are not too many."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _sweep(file)
        if size > shutil.disk_usage(file.parent).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return _write(file, key, make)
    except OSError as error:
        if size > MOST_IN_MEMORY:
            raise FewShotError(
                f"{size / 1e9:.1f} GB of decoded images cannot be kept in {file} ({error}): make room there, or name "
                "another folder with --data.cache_dir"
            ) from None
        rank_zero_warn(f"The images cannot be kept in {file} ({error}); the next run makes them again.")
    notes: Notes = {}
    classes: dict[str, list[np.ndarray]] = {}
    for name, images in make(notes):
        classes.setdefault(name, []).append(images)
    return Kept(ImageStore.of_classes({n: torch.from_numpy(np.concatenate(p)) for n, p in classes.items()}), notes)


def _sweep(file: Path) -> None:
    """Deletes what processes that were killed have left of this file."""
    for part in file.parent.glob(f".{file.name}.*.part"):
        if time.time() - part.stat().st_mtime > ABANDONED:
            part.unlink(missing_ok=True)


def _write(file: Path, key: str, make: Callable[[Notes], Parts]) -> Kept:
    """Writes the images as they come, and maps them."""
    notes: Notes = {}
    counts: dict[str, int] = {}
    example: tuple[int, ...] = (0, 0, 0)
    checksum = 0
    with whole_file(file) as opened:
        for name, images in make(notes):
            checksum = zlib.crc32(np.ascontiguousarray(images).data, checksum)
            opened.write(np.ascontiguousarray(images).data)
            counts[name] = counts.get(name, 0) + len(images)
            example = images.shape[1:]
        shape = [sum(counts.values()), *example]
        index = {"key": key, "shape": shape, "counts": [*counts.values()], "names": [*counts], "notes": notes}
        end = opened.tell()
        line = f"{json.dumps(index)}\n".encode()
        line += b"%08x" % len(line)
        opened.write(line + b"%08x" % zlib.crc32(line, checksum))
        opened.flush()
        return _mapped(opened, index, end)  # before another process may put another file in its place
