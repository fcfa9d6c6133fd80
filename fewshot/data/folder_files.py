"""The files of a user's own pictures: which classes there are, and decoding them once for all."""

import hashlib
import os
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pytorch_lightning.utilities import rank_zero_warn
from rich.progress import track

from fewshot.data.cache import Kept, Notes, cached, forget
from fewshot.data.pictures import UnreadablePictureError, pictures_by_class, pictures_in, read_picture, without_pictures
from fewshot.episodes import SPLITS
from fewshot.errors import FewShotError, listed

VERSION = 1  # of what is made of a picture; another makes them again
TOGETHER = 256  # pictures that are decoded before the first of them is written


class Listing(NamedTuple):
    """The pictures of a folder.

    Attributes:
        root: The folder.
        classes: The files of each class, by its name; classes and files in the order of their names.
        split_of: The split of each class, where the folders say so; else empty.
    """

    root: Path
    classes: dict[str, list[Path]]
    split_of: dict[str, str]

    def name(self, file: Path) -> str:
        """A file as it is called within the folder."""
        return os.fspath(file).removeprefix(f"{self.root}{os.sep}")


def list_classes(root: Path, by_folders: bool | None = None) -> Listing:
    """Finds the classes of a folder.

    Args:
        root: It holds a folder for each class, perhaps in folders of groups; and all that perhaps in the folders
            ``train``, ``val`` and ``test``.
        by_folders: Whether those three say which split a class is in. If not given, they do where two of them are
            there. If they do not, the pictures of a class that is in several of them are put together.

    Raises:
        FewShotError: If there are not two classes, or one is in several splits.
    """
    found = pictures_by_class(root)
    if not found:
        beside = len(pictures_in(root))
        what = f"no folders of pictures, but {beside} pictures side by side" if beside else "no pictures"
        raise FewShotError(f"{root} holds {what}: put those of each class into a folder of its own")
    if empty := without_pictures(root):
        rank_zero_warn(f"Left out, as there are no pictures in them: {listed(empty)} in {root}.")
    parts = {split: _below(split, found) for split in SPLITS}
    there = [split for split in SPLITS if parts[split]]
    if by_folders and not there:
        raise FewShotError(f"{root} has none of the folders train, val and test, with a folder for each class in them")
    if by_folders is None:
        by_folders = len(there) > 1
    if by_folders:
        classes, split_of = _apart(root, found, parts)
    else:
        classes, split_of = _together(found, parts) if len(there) > 1 else found, {}
    if len(classes) < 2:
        raise FewShotError(f"{root} holds one class, {listed([*classes])}: to tell classes apart takes two or more")
    return Listing(root, dict(sorted(classes.items())), split_of)


def _below(split: str, found: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """The classes in the folder of a split, by their names there."""
    inside = f"{split}/"
    return {name.removeprefix(inside): files for name, files in found.items() if name.startswith(inside)}


def _apart(
    root: Path, found: dict[str, list[Path]], parts: dict[str, dict[str, list[Path]]]
) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The classes of the three splits, and the split of each."""
    names = [name for part in parts.values() for name in part]
    several = sorted({name for name in names if names.count(name) > 1})
    if several:
        raise FewShotError(
            f"{len(several)} classes are in several of the folders train, val and test of {root}, {listed(several)}: "
            "few-shot learning tests on classes that it has never seen. Give each class to one of the folders, or have "
            "them put together and split by --data.split random"
        )
    elsewhere = [name for name in found if name.partition("/")[0] not in SPLITS or name in SPLITS]
    if elsewhere:
        rank_zero_warn(f"Left out, as they are not in train, val or test: the pictures in {root}, {listed(elsewhere)}.")
    classes = {name: files for part in parts.values() for name, files in part.items()}
    return classes, {name: split for split, part in parts.items() for name in part}


def _together(found: dict[str, list[Path]], parts: dict[str, dict[str, list[Path]]]) -> dict[str, list[Path]]:
    """All classes, the pictures of one that is in several splits put together."""
    inside = tuple(f"{split}/" for split in SPLITS)
    classes = {name: files for name, files in found.items() if not name.startswith(inside)}
    for part in parts.values():
        for name, files in part.items():
            classes[name] = [*classes.get(name, []), *files]
    return classes


def load_pictures(listing: Listing, cache: Path, size: int, channels: int) -> Kept:
    """All pictures, from the cache if that was made of the same files.

    Args:
        listing: The files.
        cache: Folder of the cache.
        size: Height and width to resize to, in pixels.
        channels: 3 or 1.

    Returns:
        The images ``[M, channels, size, size]``, and as notes: the ``digests`` of their pixels, one for each image, and
        the names of ``unreadable`` files with what is wrong with them.

    Raises:
        FewShotError: If not one of them can be read, or there is no place to keep them.
    """
    place = f"{listing.root.resolve()} {size} {channels}"
    file = cache / f"folders-{zlib.crc32(place.encode(errors='surrogateescape')):08x}.images"
    pictures = sum(map(len, listing.classes.values()))
    key = _fingerprint(listing, size, channels)
    made = partial(
        cached, file, key, lambda notes: decode(listing, size, channels, notes), pictures * channels * size * size
    )
    kept = made()
    tried = (_read(listing.root / name, size, channels) for name in kept.notes["unreadable"])
    if any(isinstance(picture, np.ndarray) for picture in tried):
        forget(file)  # as after a change of permissions, of which size and time say nothing
        kept = made()
    return kept


def _read(file: Path, size: int, channels: int) -> np.ndarray | UnreadablePictureError:
    """The pixels of a picture, or why there are none."""
    try:
        return read_picture(file, size, channels)
    except UnreadablePictureError as error:
        return error


def decode(listing: Listing, size: int, channels: int, notes: Notes) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name of the class and the pixels ``[1, channels, size, size]`` of one picture after another.

    Raises:
        FewShotError: If not one of them can be read.
    """
    pictures = [(name, file) for name, files in listing.classes.items() for file in files]
    digests, unreadable = notes["digests"], notes["unreadable"] = [], {}

    def in_parallel() -> Iterator[np.ndarray | UnreadablePictureError]:
        with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it decodes
            for start in range(0, len(pictures), TOGETHER):
                files = [file for _, file in pictures[start : start + TOGETHER]]
                yield from pool.map(partial(_read, size=size, channels=channels), files)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # read_picture refuses what is too large
        # The progress bar has no name: an error's traceback would keep it, and it deadlocks where it is collected in a
        # thread of its own.
        for image, (name, file) in zip(track(in_parallel(), "Decoding pictures", total=len(pictures)), pictures):
            if isinstance(image, UnreadablePictureError):
                unreadable[listing.name(file)] = image.why
            else:
                digests.append(hashlib.blake2b(image.data, digest_size=8).hexdigest())
                yield name, image[None]
    if not digests:
        raise FewShotError(f"none of the {len(pictures)} pictures in {listing.root} can be read: {told(unreadable)}")


def told(unreadable: dict[str, str]) -> str:
    """Some unreadable files, and what is wrong with them."""
    return listed([f"{name} ({why})" for name, why in unreadable.items()])


def _fingerprint(listing: Listing, size: int, channels: int) -> str:
    """Changes when a picture comes, goes, is replaced or changed, or belongs to another class."""
    digest = hashlib.sha256(repr((VERSION, size, channels)).encode())
    for name, files in listing.classes.items():
        for file in files:
            try:
                status = file.stat()
                version = (status.st_size, status.st_mtime_ns)
            except OSError:  # a link to nothing
                version = (0, 0)
            digest.update(f"{name!r} {listing.name(file)!r} {version}\n".encode())
    return digest.hexdigest()
