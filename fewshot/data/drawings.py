"""Small drawings: 28 x 28, of one channel, with ink bright."""

import numpy as np
from PIL import Image, ImageOps

from fewshot.data.pictures import plain, reading

SIZE = 28
LARGEST = 4096  # pixels a side: a square of a long strip would need memory that it has no use for


def shrunk(image: Image.Image) -> np.ndarray:
    """A drawing in dark ink as ``uint8`` ``[28, 28]`` with ink bright, by Lanczos resampling as in Finn's MAML."""
    return 255 - np.asarray(image.convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def as_drawing(picture: Image.Image) -> np.ndarray:
    """Any picture of a drawing as Omniglot's are: ``uint8`` ``[1, 28, 28]`` with ink bright.

    What is mostly dark is taken for bright ink on dark paper. A picture that is not square gets margins of paper.

    Raises:
        UnreadablePictureError: If it cannot be read.
    """
    with reading("the picture"):
        image = plain(picture, channels=1)
    paper = int(np.median(np.asarray(image)))
    image.thumbnail((LARGEST, LARGEST))
    side = max(image.size)
    square = ImageOps.pad(image, (side, side), color=paper)
    return shrunk(square if paper > 127 else ImageOps.invert(square))[None]
