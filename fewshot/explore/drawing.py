"""Drawings by visitors: from strokes to what a network sees, and sets of them to be told apart."""

import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from fewshot.data.drawings import shrunk
from fewshot.episodes import Examples
from fewshot.errors import FewShotError
from fewshot.explore.shelf import Judge

PAPER = 105
"""Height and width of a drawing in pixels, as Omniglot's are before they are shrunk."""

LONGER_SIDE, PEN = 67, 5
"""In pixels: the median of Omniglot's bounding boxes by their longer side, and a pen as broad as its are."""

SMALLEST = 0.1
"""Of the pad: what is smaller is not enlarged as far, or else dots would become blots."""

FINER = 4  # times as fine are strokes drawn before they are made black or white
MOST_CLASSES, MOST_SHOTS, MOST_POINTS = 20, 5, 10_000
MOST_BYTES = 2**20  # of a sheet; one of a hundred drawings has some 50,000

Strokes = Sequence[np.ndarray]
"""Lines on the pad, ``[n, 2]`` each: x to the right and y up, 0 to 1."""


def strokes_of(xs: Iterable[Any], ys: Iterable[Any]) -> Strokes:
    """The strokes that a browser sends, without what is no number.

    Raises:
        FewShotError: If they are endless, or no lines.
    """
    try:
        lines = [np.stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)], axis=1) for x, y in zip(xs, ys)]
    except (TypeError, ValueError):
        raise FewShotError("these are no strokes: clear the pad and draw again") from None
    if sum(map(len, lines)) > MOST_POINTS:
        raise FewShotError(f"the drawing has more than {MOST_POINTS} points: clear the pad and draw again")
    lines = [line[np.isfinite(line).all(axis=1)].clip(0, 1) for line in lines]
    return [line for line in lines if len(line)]


def on_paper(strokes: Strokes) -> np.ndarray:
    """Strokes as a drawing like Omniglot's: in the middle, of its usual size and pen, black on white, ``[105, 105]``.

    Raises:
        FewShotError: If there are none.
    """
    if not strokes:
        raise FewShotError("nothing is drawn yet")
    points = np.concatenate(strokes)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (LONGER_SIDE - PEN) / max((high - low).max(), SMALLEST)
    image = Image.new("L", (FINER * PAPER, FINER * PAPER), 255)
    pen = ImageDraw.Draw(image)
    for stroke in strokes:
        centred = (stroke - (low + high) / 2) * (scale, -scale) + PAPER / 2
        line = [tuple(point) for point in (FINER * centred).tolist()]
        pen.line(line, fill=0, width=round(FINER * PEN), joint="curve")
        for place in (line[0], line[-1]):
            pen.circle(place, FINER * PEN / 2, fill=0)
    small = np.asarray(image.resize((PAPER, PAPER), Image.Resampling.BOX))
    return np.where(small < 128, 0, 255).astype(np.uint8)


def as_example(drawing: np.ndarray) -> Tensor:
    """A drawing as the network sees it: ``[1, 28, 28]``, 0 for paper, 1 for ink."""
    return torch.from_numpy(shrunk(Image.fromarray(drawing))).float()[None] / 255


class DrawingSet:
    """The classes that a visitor has drawn.

    Attributes:
        classes: The drawings of each, ``uint8`` ``[105, 105]``.
    """

    def __init__(self) -> None:
        self.classes: list[list[np.ndarray]] = []
        self._order: list[int] = []

    def add(self, drawing: np.ndarray, label: int | None = None) -> None:
        """Keeps a drawing as an example of a class; of a new one, if none is given.

        Raises:
            FewShotError: If there is no such class, or no room for more.
        """
        if label is None:
            if len(self.classes) == MOST_CLASSES:
                raise FewShotError(f"there are {MOST_CLASSES} classes, and no room for more")
            label = len(self.classes)
            self.classes.append([])
        elif not 0 <= label < len(self.classes):
            raise FewShotError("there is no such class yet: keep the drawing as a new one")
        if len(self.classes[label]) == MOST_SHOTS:
            raise FewShotError(f"the class has {MOST_SHOTS} examples, and no room for more")
        self.classes[label].append(drawing)
        self._order.append(label)

    def forget(self) -> None:
        """Takes the last drawing back."""
        if self._order:
            label = self._order.pop()
            self.classes[label].pop()
            if not self.classes[label]:
                self.classes.pop(label)

    def examples(self) -> Examples:
        """All drawings as the support set of one task."""
        drawings = [as_example(drawing) for own in self.classes for drawing in own]
        labels = [label for label, own in enumerate(self.classes) for _ in own]
        return Examples(torch.stack(drawings)[None], torch.tensor([labels]))

    def to_sheet(self) -> bytes:
        """The set as one picture, a PNG: a row for each class.

        Raises:
            FewShotError: If there is nothing in it.
        """
        if not self.classes:
            raise FewShotError("there are no classes yet: keep a drawing as one")
        sheet = np.full((len(self.classes), PAPER, max(map(len, self.classes)), PAPER), 255, dtype=np.uint8)
        for row, own in zip(sheet, self.classes):
            row[:, : len(own)] = np.stack(own, axis=1)
        return png(sheet.reshape(len(sheet) * PAPER, -1))

    @classmethod
    def of_sheet(cls, content: bytes) -> "DrawingSet":
        """The set of such a picture.

        Raises:
            FewShotError: If it is none.
        """
        wrong = FewShotError("that is no sheet of drawings: load a PNG that was saved here")
        if len(content) > MOST_BYTES:
            raise wrong
        try:
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                width, height = image.size
                if width not in range(PAPER, PAPER * MOST_SHOTS + 1, PAPER) or height % PAPER:
                    raise wrong
                if not 0 < height <= PAPER * MOST_CLASSES:
                    raise wrong
                pixels = np.asarray(image.convert("L"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises of damaged files
            raise wrong from None
        result = cls()
        for row in np.where(pixels < 128, 0, 255).astype(np.uint8).reshape(-1, PAPER, width // PAPER, PAPER):
            own = [drawing for drawing in row.swapaxes(0, 1) if (drawing == 0).any()]
            for number, drawing in enumerate(own):
                result.add(drawing, len(result.classes) - 1 if number else None)
        return result

    def to_folders(self) -> bytes:
        """The set as a zip file of a folder for each class, which fewshot reads.

        Raises:
            FewShotError: If there is nothing in it.
        """
        if not self.classes:
            raise FewShotError("there are no classes yet: keep a drawing as one")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for label, own in enumerate(self.classes, 1):
                for number, drawing in enumerate(own, 1):
                    archive.writestr(f"my_classes/class_{label:02}/{number}.png", png(drawing))
        return content.getvalue()


def png(pixels: np.ndarray) -> bytes:
    """Black and white as a PNG of one bit a pixel."""
    content = io.BytesIO()
    Image.fromarray(pixels).convert("1").save(content, "PNG")
    return content.getvalue()


def probabilities(judge: Judge, drawing: Tensor) -> np.ndarray:
    """What a learner makes of a drawing ``[1, 28, 28]``: the probability of each class, ``[N]``."""
    return judge(drawing[None, None])[0, 0].softmax(-1).numpy()
