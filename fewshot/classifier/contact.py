"""The contact sheet: the pictures whose class is most in doubt."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from fewshot.classifier.sources import Source
from fewshot.evaluation.measure import Row
from fewshot.plots import contact_sheet, save

MOST = 64  # pictures on it


def draw_doubtful(rows: Sequence[Row], source: Source, file: Path) -> None:
    """Draws pictures with their predicted classes, the least probable first.

    Args:
        rows: Predictions.
        source: Reads the pictures, as the classifier sees them.
        file: Where to write the PNG; none is written where no picture could be read.
    """
    judged = sorted((row for row in rows if "class" in row), key=lambda row: row["probability"])[:MOST]
    if not judged:
        return
    images = [_small(source.read(row["file"])) for row in judged]
    captions = [
        f"{_short(Path(row['file']).name)}\n{_short(str(row['class']))} {row['probability']:.2f}"
        + ("" if row["known"] is not False else "\nnot known")
        for row in judged
    ]
    save(contact_sheet(images, captions, f"{len(judged)} of {len(rows)} pictures, the most doubtful first"), file)


def _small(image: np.ndarray) -> np.ndarray:
    """At most 112 pixels a side: a sheet needs no more."""
    pixels = Image.fromarray(image[0] if len(image) == 1 else np.moveaxis(image, 0, -1))
    pixels.thumbnail((112, 112))
    return np.atleast_3d(np.asarray(pixels)).transpose(2, 0, 1)


def _short(text: str) -> str:
    text = text.encode(errors="replace").decode()  # what came from a file's name that is no text
    return text if len(text) <= 22 else f"{text[:10]}…{text[-11:]}"
