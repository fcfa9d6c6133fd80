"""Omniglot's files: finding or downloading the archives, and decoding them."""

import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from rich.progress import track

from fewshot.data.cache import cached
from fewshot.data.store import ImageStore
from fewshot.errors import FewShotError

URL = "https://github.com/brendenlake/omniglot/raw/master/python/"
ARCHIVES = {  # MD5 sums as published by torchvision
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}
CHARACTERS, DRAWINGS, SIZE = 1623, 20, 28


def load_omniglot(root: Path, cache: Path) -> ImageStore:
    """Loads all of Omniglot, from the cache if that was made of the files in ``root``.

    Args:
        root: Folder that holds ``images_background`` and ``images_evaluation``, each as a zip file or unpacked.
        cache: File that keeps the decoded images; (re)made where it is missing, damaged, or of other files.

    Returns:
        28 x 28 images of one channel with ink bright, twenty of each class, in the order of their names ``ARCHIVE/
        ALPHABET/characterNN``.

    Raises:
        FewShotError: If the files are missing, damaged, or not Omniglot's.
    """
    sources = find(root)
    return cached(cache, _fingerprint(sources), lambda: decode(sources))


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


def decode(sources: dict[str, Path]) -> ImageStore:
    """Decodes all drawings, in parallel.

    Raises:
        FewShotError: If a file is damaged, or a character or a drawing is missing.
    """
    files: dict[str, list[tuple[str, bytes]]] = {}
    for archive, path in sources.items():
        for alphabet, character, drawing, content in _read(path):
            files.setdefault(f"{archive}/{alphabet}/{character}", []).append((drawing, content))
    if len(files) != CHARACTERS:
        raise FewShotError(
            f"{_places(sources)} hold {len(files)} characters, not Omniglot's {CHARACTERS}: get the official archives"
        )
    for name, drawings in files.items():
        if len(drawings) != DRAWINGS:
            raise FewShotError(f"{name} in {_places(sources)} has {len(drawings)} drawings, not {DRAWINGS}")
    names = sorted(files)
    with ThreadPoolExecutor() as pool:  # Pillow lets go of the interpreter while it decodes and resizes
        decoded = pool.map(lambda name: [_image(content) for _, content in sorted(files[name])], names)
        images = np.stack(list(track(decoded, "Decoding Omniglot", total=len(names))))
    rows = torch.from_numpy(images).view(-1, 1, SIZE, SIZE)
    return ImageStore.of_rows(rows, [DRAWINGS] * len(names), names)


def _read(path: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """Yields (alphabet, character, drawing, PNG) of ``ARCHIVE/ALPHABET/characterNN/IIII_DD.png``, zipped or not."""
    if path.is_dir():
        for file in path.glob("*/*/*.png"):
            yield file.parts[-3], file.parts[-2], file.name, file.read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                parts = entry.split("/")
                if len(parts) == 4 and parts[0] == path.stem and entry.endswith(".png"):
                    yield parts[1], parts[2], parts[3], archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise FewShotError(f"{path} is damaged or no zip file ({error}): delete it, and download it again") from None


def _image(png: bytes) -> np.ndarray:
    """Decodes one drawing to 28 x 28 with ink bright; Lanczos resampling, as in Finn's MAML."""
    try:
        image = Image.open(io.BytesIO(png)).convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    except (UnidentifiedImageError, OSError) as error:
        raise FewShotError(f"a drawing of Omniglot is damaged ({error}): get the official archives") from None
    return 255 - np.asarray(image)


def _places(sources: dict[str, Path]) -> str:
    return " and ".join(str(path) for path in sources.values())


def _fingerprint(sources: dict[str, Path]) -> str:
    """Changes when a zip file, or a character's folder, is replaced or changed."""
    lines = [str(("store", SIZE, DRAWINGS, CHARACTERS))]
    for path in sources.values():
        files = sorted(path.glob("*/*")) if path.is_dir() else [path]
        lines += [f"{file.resolve()} {file.stat().st_mtime_ns} {file.stat().st_size}" for file in files]
    return f"{zlib.crc32(os.linesep.join(lines).encode()):08x}"
