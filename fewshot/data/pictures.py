"""Finding the pictures of a folder, and reading one of any kind as pixels of one size and colour."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from fewshot.errors import FewShotError, gist

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
"""What Pillow may take a file for: no documents, no formats that call other programs. HEIF needs pillow-heif."""

SUFFIXES = frozenset(
    ".apng .avif .bmp .dib .gif .heic .heif .j2k .jfif .jp2 .jpe .jpeg .jpg .jpx .mpo .pbm .pgm .png .pnm .ppm .tif "
    ".tiff .webp".split()
)
"""How the name of a picture ends, in small letters."""

HEIF = (".heic", ".heif")
"""Those that Pillow alone cannot read."""

NOT_LOOKED_INTO = ("__MACOSX", "@eaDir")  # copies of names and previews, by macOS and Synology

SPARE = 2  # how much larger than needed a JPEG is decoded before it is resized: finer is not to be seen

Resampling = Literal["bilinear", "bicubic"]


class UnreadablePictureError(FewShotError):
    """A picture that cannot be read.

    Attributes:
        why: What is wrong with it.
    """

    def __init__(self, name: object, why: str) -> None:
        super().__init__(f"{name} cannot be read as a picture ({why})")
        self.why = why


def pictures_by_class(root: str | Path) -> dict[str, list[Path]]:
    """The pictures of each class: a class is a folder, at any depth, that holds pictures itself.

    Hidden files and folders are left out. Links are followed, unless back to a folder that they are in.

    Args:
        root: The folder of the classes; pictures that lie in it belong to none.

    Returns:
        The files of each class, in the order of their names, by the name of the class, its path such as
        ``GROUP/CLASS``; in that order, too.

    Raises:
        FewShotError: If there is no such folder, or one cannot be looked into.
    """
    found = dict(_folders(Path(root), "", frozenset()))
    return {name: files for name, files in sorted(found.items()) if name and files}


def without_pictures(root: str | Path) -> list[str]:
    """The folders in and below which there is no picture, and the links that lead nowhere, by their paths in a folder.

    Raises:
        FewShotError: If there is no such folder, or one cannot be looked into.
    """
    found = dict(_folders(Path(root), "", frozenset()))
    full = {part for name, files in found.items() if files for part in accumulate(name.split("/"), "{}/{}".format)}
    return sorted(found.keys() - full - {""})


def pictures_in(folder: str | Path) -> list[Path]:
    """The pictures that lie in a folder itself, in the order of their names.

    Raises:
        FewShotError: If there is no such folder, or it cannot be looked into.
    """
    return [Path(entry.path) for entry in _entries(Path(folder)) if _is_picture(entry)]


def _folders(folder: Path, name: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, list[Path]]]:
    """Yields this folder, all below it, and links to folders that are not there: the name, and the pictures in it."""
    entries = _entries(folder)
    here = folder.stat()
    above |= {(here.st_dev, here.st_ino)}
    yield name, [Path(entry.path) for entry in entries if _is_picture(entry)]
    for entry in entries:
        if _leads_nowhere(entry) and not _is_picture(entry):
            yield f"{name}/{entry.name}".lstrip("/"), []
        elif _is_folder(entry) and entry.name not in NOT_LOOKED_INTO:
            place = entry.stat()
            if (place.st_dev, place.st_ino) not in above:
                yield from _folders(Path(entry.path), f"{name}/{entry.name}".lstrip("/"), above)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if entry.name[0] != "."), key=lambda entry: entry.name)
    except FileNotFoundError:
        raise FewShotError(f"there is no folder {folder}") from None
    except (OSError, ValueError) as error:  # ValueError: no path at all
        raise FewShotError(f"the folder {folder} cannot be looked into ({gist(error)})") from None


def _is_picture(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in SUFFIXES and not _is_folder(entry)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    return not _leads_nowhere(entry) and entry.is_dir()


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    """Whether it is a link to nothing, or to itself."""
    return entry.is_symlink() and not os.path.exists(entry.path)


def read_picture(
    source: str | Path | Image.Image,
    size: int,
    channels: int = 3,
    crop: float = 1.0,
    resampling: Resampling = "bilinear",
) -> np.ndarray:
    """Reads a picture as pixels: upright, on white where it is transparent, and the middle square of it alone.

    Args:
        source: A file, or a picture in memory.
        size: Height and width to resize to, in pixels.
        channels: 3 for red, green and blue, or 1 for gray.
        crop: Which part of the shorter side the square takes; as if the shorter side were resized to ``size / crop``
            and the middle cut out (timm's ``crop_pct``).
        resampling: How it is resized; always with antialiasing.

    Returns:
        ``uint8`` ``[channels, size, size]``.

    Raises:
        UnreadablePictureError: If it cannot be read, or has more than 89 million pixels that would have to be decoded.
    """
    if isinstance(source, Image.Image):
        with reading("the picture"):
            return _pixels(source, size, channels, crop, resampling)
    with reading(source), Image.open(source, formats=formats()) as picture:
        wanted = SPARE * math.ceil(size / crop)
        picture.draft(None, (wanted, wanted))  # decodes a large JPEG to a half, a quarter or an eighth
        return _pixels(picture, size, channels, crop, resampling)


def open_picture(file: str | Path) -> Image.Image:
    """A picture as it is in a file, decoded.

    Raises:
        UnreadablePictureError: If it cannot be read, or has more than 89 million pixels.
    """
    with reading(file), Image.open(file, formats=formats()) as picture:
        _limit(picture)
        picture.load()
        return picture


@contextmanager
def reading(name: object) -> Iterator[None]:
    """Turns whatever is raised of a picture into what says so.

    Raises:
        UnreadablePictureError: Of the picture of that name.
    """
    try:
        yield
    except Exception as error:  # what Pillow raises of damaged bytes has no end
        missing = str(name).lower().endswith(HEIF) and "HEIF" not in formats()
        why = "to read it takes pillow-heif: pip install pillow-heif" if missing else _said(error)
        raise UnreadablePictureError(name, why) from None


def formats() -> list[str]:
    """Those of :data:`FORMATS` that this Pillow knows, and pillow-heif, if it is installed."""
    Image.init()
    _register_heif()
    return [name for name in FORMATS if name in Image.OPEN]


@cache
def _register_heif() -> None:
    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()


def _limit(picture: Image.Image) -> None:
    if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise ValueError(f"{picture.width} x {picture.height} are more than {Image.MAX_IMAGE_PIXELS} pixels")


def _said(error: Exception) -> str:
    """What is wrong with a picture, without its path, which is said already."""
    if isinstance(error, UnidentifiedImageError):
        return "it is empty, damaged or of a kind that Pillow does not know"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return gist(error)


def _pixels(picture: Image.Image, size: int, channels: int, crop: float, resampling: Resampling) -> np.ndarray:
    _limit(picture)
    image = plain(picture, channels)
    side = crop * min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    box = (left, top, left + side, top + side)
    small = image.resize((size, size), Image.Resampling[resampling.upper()], box=box)
    return np.ascontiguousarray(np.asarray(small).reshape(size, size, channels).transpose(2, 0, 1))


def plain(picture: Image.Image, channels: int) -> Image.Image:
    """A picture of any kind, upright, with 8 bits a channel, and opaque.

    Args:
        picture: In any of Pillow's modes.
        channels: 3 for mode ``RGB``, 1 for mode ``L``.
    """
    image = _upright(picture)
    if image.mode[0] in "IF":  # 16 or 32 bits a pixel, or floating point
        image = _of_bytes(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L")


def _upright(picture: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data say; as it is, if they are damaged."""
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:
        return picture


def _of_bytes(image: Image.Image) -> Image.Image:
    """A gray picture of more than 8 bits in mode ``L``.

    Whole numbers that fit into 16 bits are taken for such; of others the darkest is black and the brightest white.

    Raises:
        ValueError: If a pixel is not finite.
    """
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not finite")
    low, high = values.min(), values.max()
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0, 65535
    return Image.fromarray(np.rint((values - low) * (255 / max(high - low, 1e-12))).astype(np.uint8))
