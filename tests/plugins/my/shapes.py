"""A data set of one's own: coloured shapes, with another number of images in each class."""

import torch
from torch import Tensor

from fewshot.data import ImageDataModule, ImageStore, random_split

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0), "grey": (90, 90, 90)}
SIZE = 20


class Shapes(ImageDataModule):
    """Squares, frames, bars and crosses in five colours on noise, 8 to 27 images of each; the colours are groups."""

    def load(self) -> ImageStore:
        """Draws all images."""
        generator = torch.Generator().manual_seed(0)
        classes = {}
        for colour, values in COLOURS.items():
            for shape in ("square", "frame", "bar", "cross"):
                paint = torch.tensor(values, dtype=torch.uint8)[:, None, None]
                images = torch.randint(60, (8 + len(classes), 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
                for image in images:
                    top, left = torch.randint(4, 8, (2,), generator=generator).tolist()
                    image.copy_(torch.where(outline(shape, top, left), paint, image))
                classes[f"{colour}/{shape}"] = images
        return ImageStore.of_classes(classes)

    def split_classes(self, names: tuple[str, ...]) -> dict[str, list[int]]:
        """Twelve for training, four for validation, four for test."""
        return random_split(len(names), self.split_seed, train=0.6, val=0.2)


def outline(shape: str, top: int, left: int) -> Tensor:
    """Where a shape lies, ``[SIZE, SIZE]``."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    mask[top : top + 10, left : left + 10] = shape in ("square", "frame")
    if shape == "frame":
        mask[top + 2 : top + 8, left + 2 : left + 8] = False
    if shape in ("bar", "cross"):
        mask[top : top + 10, left + 4 : left + 6] = True
    if shape == "cross":
        mask[top + 4 : top + 6, left : left + 10] = True
    return mask
