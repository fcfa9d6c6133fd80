"""Images that are made ready once: kept in a file for the next run, and in memory for this one."""

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_warn

from fewshot.data.store import ImageStore
from fewshot.errors import gist
from fewshot.files import write_bytes

_in_memory: dict[Path, tuple[str, ImageStore]] = {}


def cache_folder(chosen: str | None = None) -> Path:
    """The folder asked for, or ``~/.cache/fewshot``."""
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "fewshot")).expanduser()


def cached(file: Path, key: str, make: Callable[[], ImageStore]) -> ImageStore:
    """The store that ``make`` makes, from memory or from a file where it was made with the same key.

    Args:
        file: Where it is kept; written whole or not at all, and made again, with a warning, where it is damaged, of
            another key, or not what was written.
        key: What it is made of.
        make: Makes it.
    """
    if _in_memory.get(file, ("", None))[0] != key:
        store = _read(file, key)
        if store is None:
            store = make()
            _write(file, key, store)
        _in_memory[file] = key, store
    return _in_memory[file][1]


def _checksum(key: str, images: np.ndarray, counts: Sequence[int], names: Sequence[str]) -> str:
    """Of all that the file holds."""
    digest = hashlib.sha256(repr((key, images.shape, images.dtype.str, [*counts], [*names])).encode())
    digest.update(np.ascontiguousarray(images).data)
    return digest.hexdigest()


def _read(file: Path, key: str) -> ImageStore | None:
    """What is in the file, or None if it is not, whole and unchanged, what was written with this key."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if str(arrays["key"]) != key:
                raise ValueError("it was made of other files or by another version")
            images, counts, names = arrays["images"], arrays["counts"].tolist(), arrays["names"].tolist()
            if str(arrays["checksum"]) != _checksum(key, images, counts, names):
                raise ValueError("its checksum does not fit")
        return ImageStore.of_rows(torch.from_numpy(images), counts, names)
    except FileNotFoundError:
        pass
    except Exception as error:  # what damaged bytes raise in zipfile and NumPy has no end
        rank_zero_warn(f"The cache {file} cannot be used ({gist(error)}); its images are made again.")
    return None


def _write(file: Path, key: str, store: ImageStore) -> None:
    images, counts, names = store.images.numpy(), store.counts.tolist(), list(store.names)
    content = io.BytesIO()
    checksum = _checksum(key, images, counts, names)
    np.savez(content, key=key, images=images, counts=counts, names=names, checksum=checksum)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(file, content.getvalue())
    except OSError as error:
        rank_zero_warn(f"The images cannot be kept in {file} ({error}); the next run makes them again.")
