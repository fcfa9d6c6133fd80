"""Omniglot's files: finding or downloading the archives, and decoding them."""

import hashlib
import io
import os
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from fewshot.data.cache import cached
from fewshot.data.drawings import SIZE, shrunk
from fewshot.data.store import ImageStore
from fewshot.errors import FewShotError, gist

URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
ARCHIVES = {  # MD5 sums as published by torchvision
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
PIXELS = {  # SHA-256 over the name and the pixels of every drawing: whoever packed them, or if they are unpacked
    "images_background": "48a0b1fcf6e14e64c64d6026ebd0b0eece1b746a596ef49b15bf1b59d935cce0",
    "images_evaluation": "b16131e11b20f651b7c7237507574d2d2afdea54af2d3a02c1498c700cc00197",
}
CHARACTERS, DRAWINGS = 1623, 20
ORIGINAL = "a PNG of 105 x 105 in mode 1"  # what every drawing is; Pillow's mode 1 is one bit a pixel
MOST_BYTES = 1_000_000  # of a drawing; the official ones have some 500


def load_omniglot(root: Path, cache: Path, verify: bool = True) -> ImageStore:
    """Loads all of Omniglot, from the cache if that was made of the files in ``root``.

    Args:
        root: Folder that holds ``images_background`` and ``images_evaluation``, each as a zip file or unpacked.
        cache: File that keeps the decoded images; (re)made where it is missing, damaged, or of other files.
        verify: Refuse what does not hold Omniglot's own drawings.

    Returns:
        28 x 28 images of one channel with ink bright, twenty of each class, in the order of their names ``ARCHIVE/
        ALPHABET/characterNN``.

    Raises:
        FewShotError: If the files are missing, damaged, or not Omniglot's.
    """
    sources = find(root)
    return cached(cache, _fingerprint(sources, verify), lambda _: decode(sources, verify).parts()).store


def find(root: Path) -> dict[str, Path]:
    """The zip file or folder of each archive.

    Raises:
        FewShotError: If one is missing.
    """
    found = {}
    for name in ARCHIVES:
        places = [root / name, root / f"{name}.zip"]
        found[name] = next((place for place in places if place.exists()), places[-1])
    missing = [str(path) for path in found.values() if not path.exists()]
    if missing:
        raise FewShotError(f"missing {' and '.join(missing)}")
    return found


def download(root: Path) -> None:
    """Downloads the archives that are missing, checks their MD5 and puts each in place whole or not at all.

    Raises:
        FewShotError: If an archive cannot be had, or is not the official one.
    """
    from torchvision.datasets.utils import download_url

    new_folders = [folder for folder in (root, *root.parents) if not folder.exists()]
    for name, md5 in ARCHIVES.items():
        if any((root / entry).exists() for entry in (name, f"{name}.zip")):
            continue
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as place:
                download_url(f"{URL}{name}.zip", place, md5=md5)
                os.replace(Path(place, f"{name}.zip"), root / f"{name}.zip")
        except (URLError, OSError, RuntimeError) as error:
            with suppress(OSError):
                for folder in new_folders:  # only an empty one can be removed
                    folder.rmdir()
            raise FewShotError(
                f"{name}.zip is neither in {root} nor to be had from {URL} ({error}). Put images_background.zip and "
                f"images_evaluation.zip into {root}, or name their folder with --data.root or "
                f"$FEWSHOT_DATA/omniglot; --config glyphs_maml needs no download"
            ) from None


def decode(sources: dict[str, Path], verify: bool = True) -> ImageStore:
    """Decodes all drawings, in parallel.

    Args:
        sources: The zip file or folder of each archive.
        verify: Refuse what does not hold Omniglot's own drawings.

    Raises:
        FewShotError: If a file is damaged or not as published, or a character or a drawing is missing.
    """
    files = _collect(sources)
    names = sorted(files)

    def drawn(name: str) -> list[tuple[np.ndarray, bytes]]:
        return [_decode(f"{name}/{drawing}", content, verify) for drawing, content in sorted(files[name])]

    rows, sums = [], {archive: hashlib.sha256() for archive in sources}
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it decodes
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for drawings, name in zip(track(pool.map(drawn, names), "Decoding Omniglot", total=len(names)), names):
            for image, pixels in drawings:
                rows.append(image)
                sums[name.partition("/")[0]].update(pixels)
    for archive, path in sources.items() if verify else ():
        if sums[archive].hexdigest() != PIXELS[archive] and not _official(path):
            raise FewShotError(
                f"the drawings in {path} are not Omniglot's: get the official archives, or take it as it is with "
                "--data.verify false"
            )
    images = torch.from_numpy(np.stack(rows)).unsqueeze(1)
    return ImageStore.of_rows(images, [DRAWINGS] * len(names), names)


def _official(path: Path) -> bool:
    """Whether this is the very zip file that was published."""
    return path.is_file() and hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == ARCHIVES[path.stem]


def _collect(sources: dict[str, Path]) -> dict[str, list[tuple[str, bytes]]]:
    """Reads the drawings, by name and PNG, of each character ``ARCHIVE/ALPHABET/characterNN``; all must be there."""
    files: dict[str, list[tuple[str, bytes]]] = {}
    for archive, path in sources.items():
        for place, content in _read_folder(path) if path.is_dir() else _read_zip(path):
            character, _, drawing = place.rpartition("/")
            files.setdefault(f"{archive}/{character}", []).append((drawing, content))
    if len(files) != CHARACTERS:
        raise FewShotError(
            f"{_places(sources)} hold {len(files)} characters, not Omniglot's {CHARACTERS}: get the official archives"
        )
    for name, drawings in files.items():
        if len(drawings) != DRAWINGS:
            raise FewShotError(f"{name} in {_places(sources)} has {len(drawings)} drawings, not {DRAWINGS}")
    return files


def _read_folder(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the place ``ALPHABET/characterNN/IIII_DD.png`` of each drawing, and what is in that file."""
    for file in path.glob("*/*/*.png"):
        try:
            with file.open("rb") as opened:
                yield "/".join(file.parts[-3:]), _limited(opened, file.name)
        except (OSError, ValueError) as error:
            raise FewShotError(f"{file} cannot be read ({gist(error)})") from None


def _read_zip(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the same of the drawings ``ARCHIVE/ALPHABET/characterNN/IIII_DD.png`` of a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                root, _, place = entry.filename.partition("/")
                if root == path.stem and place.count("/") == 2 and place.endswith(".png"):
                    yield place, _unzipped(archive, entry)
    except Exception as error:  # there is no list of what zipfile raises of damaged bytes
        raise FewShotError(
            f"{path} is damaged or no zip file ({gist(error)}): delete it, and download it again"
        ) from None


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """What is in an entry; neither its header nor its content may be of a zip bomb."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile limits what these two give
        raise ValueError(f"{entry.filename} is neither stored nor deflated")
    if entry.file_size > MOST_BYTES:
        raise ValueError(f"{entry.filename} has {entry.file_size} bytes, more than {MOST_BYTES}")
    with archive.open(entry) as file:
        return _limited(file, entry.filename)


def _limited(file: IO[bytes], name: str) -> bytes:
    content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{name} has more than {MOST_BYTES} bytes")
    return content


def _decode(name: str, png: bytes, verify: bool) -> tuple[np.ndarray, bytes]:
    """Decodes one drawing.

    Returns:
        The drawing in 28 x 28 with ink bright, and what ``PIXELS`` is of.
    """
    try:
        image = Image.open(io.BytesIO(png))
        kind = f"a {image.format} of {image.width} x {image.height} in mode {image.mode}"
        if image.format == "PNG" and (kind == ORIGINAL or not verify):
            image.verify()  # the checksums of the file, which decoding does not look at
            image = Image.open(io.BytesIO(png))
            return shrunk(image), name.encode() + image.tobytes()
    except Exception as error:  # there is no list of what Pillow raises of damaged bytes
        raise FewShotError(f"the drawing {name} is damaged ({gist(error)}): get the official archives") from None
    raise FewShotError(
        f"the drawing {name} is {kind}, not {ORIGINAL if verify else 'a PNG'}: get the official archives"
        + (", or take them as they are with --data.verify false" if verify and image.format == "PNG" else "")
    )


def _places(sources: dict[str, Path]) -> str:
    return " and ".join(str(path) for path in sources.values())


def _fingerprint(sources: dict[str, Path], verify: bool) -> str:
    """Changes when a zip file, or a character's folder, is replaced or changed."""
    lines = [str(("store", SIZE, DRAWINGS, CHARACTERS, verify))]
    for path in sources.values():
        files = sorted(path.glob("*/*")) if path.is_dir() else [path]
        lines += [f"{file.resolve()} {file.stat().st_mtime_ns} {file.stat().st_size}" for file in files]
    return f"{zlib.crc32(os.linesep.join(lines).encode(errors='surrogateescape')):08x}"
