"""Images that are made ready once: kept in a file for the next run, and in memory for this one."""

import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pytorch_lightning.utilities import rank_zero_warn

from fewshot.data.store import ImageStore

_in_memory: dict[Path, tuple[str, ImageStore]] = {}


def cache_folder(chosen: str | None = None) -> Path:
    """The folder asked for, or ``~/.cache/fewshot``."""
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "fewshot")).expanduser()


def cached(file: Path, key: str, make: Callable[[], ImageStore]) -> ImageStore:
    """The store that ``make`` makes, from memory or from a file where it was made with the same key.

    Args:
        file: Where it is kept; written whole or not at all, and made again where it is missing, damaged or of another
            key.
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


def _read(file: Path, key: str) -> ImageStore | None:
    """What is in the file, or None if it is not of this key. The zip format's checksums tell damage."""
    try:
        with np.load(file) as arrays:
            if str(arrays["key"]) == key:
                names = arrays["names"].tolist()
                return ImageStore.of_rows(torch.from_numpy(arrays["images"]), arrays["counts"].tolist(), names)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        rank_zero_warn(f"The cache {file} cannot be used ({error}); its images are made again.")
    return None


def _write(file: Path, key: str, store: ImageStore) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            try:
                images, names = store.images.numpy(), np.array(store.names)
                np.savez(part, key=key, images=images, counts=store.counts, names=names)
                part.close()
                os.replace(part.name, file)
            except OSError:
                os.unlink(part.name)
                raise
    except OSError as error:
        rank_zero_warn(f"The images cannot be kept in {file} ({error}); the next run makes them again.")
