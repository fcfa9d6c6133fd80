"""What may be given for pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from fewshot.classifier.sources import Picture
from fewshot.errors import FewShotError


def as_pictures(X: Any) -> list[Picture] | None:  # noqa: N803
    """Files, images of Pillow, or arrays of pixels, as a list; ``None`` if ``X`` is a matrix.

    Raises:
        FewShotError: If it is an array of no known kind.
    """
    if isinstance(X, str | Path | Image.Image):
        raise FewShotError("pictures come as a list: [picture]")
    if isinstance(X, list | tuple | np.ndarray) and len(X) and isinstance(X[0], str | Path | Image.Image):
        return list(X)
    if isinstance(X, list | tuple) and len(X):
        if np.ndim(X[0]) < 2:
            return None
        kinds = {min(np.ndim(pixels), 2) for pixels in X}
        if kinds != {2}:
            raise FewShotError("pictures and rows of numbers do not go together in one list")
        return [picture for pixels in X for picture in as_pictures(np.asarray(pixels)[None]) or ()]
    array = np.asarray(X) if isinstance(X, list | tuple | np.ndarray | torch.Tensor) else np.empty(0)
    if array.ndim < 3:
        return None
    if array.dtype != np.uint8 or array.ndim > 4 or array.shape[3:] not in ((), (3,)):
        raise FewShotError(f"pictures must be uint8 [n, H, W] or [n, H, W, 3], not {array.dtype} {list(array.shape)}")
    return [Image.fromarray(pixels) for pixels in array]
