"""Where images are kept: one array of all of them, and which of its rows are of which class."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fewshot.errors import FewShotError

MIRRORED = 4
"""What is added to the right angles of a class that is mirrored."""


@dataclass(frozen=True)
class ImageStore:
    """The images of some classes, any number of each. Selecting and rotating classes copies no image.

    Attributes:
        images: All images, ``uint8`` ``[M, C, H, W]``; in memory, or mapped from a file.
        starts: Row of the first image of each class, ``[classes]``.
        counts: Number of images of each class; they follow one another.
        names: A name for each class, ``GROUP/CLASS`` where classes have groups.
        turns: By how many right angles each class is rotated when its images are gathered; 4 more where it is mirrored,
            left to right, before that.
    """

    images: Tensor
    starts: np.ndarray
    counts: np.ndarray
    names: tuple[str, ...]
    turns: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise FewShotError(f"images must be uint8 [M, C, H, W], not {self.images.dtype} {list(self.images.shape)}")
        if not len(self.starts) == len(self.counts) == len(self.names) == len(self.turns):
            raise FewShotError(f"{len(self.names)} names for {len(self.counts)} classes of images")

    @classmethod
    def of_rows(cls, images: Tensor, counts: Sequence[int], names: Sequence[str]) -> "ImageStore":
        """A store of images that lie class after class.

        Args:
            images: ``uint8`` ``[M, C, H, W]``.
            counts: Number of images of each class.
            names: A name for each class.

        Raises:
            FewShotError: If the numbers do not go together.
        """
        ends = np.cumsum(counts)
        if len(images) != (ends[-1] if len(ends) else 0):
            raise FewShotError(f"{len(images)} images, but the classes have {sum(counts)}")
        return cls(images, ends - np.asarray(counts), np.asarray(counts), tuple(names), np.zeros_like(ends))

    @classmethod
    def of_classes(cls, classes: Mapping[str, Tensor]) -> "ImageStore":
        """A store of the images of each class by its name, ``uint8`` ``[n, C, H, W]`` each."""
        if not classes:
            raise FewShotError("there are no classes of images")
        return cls.of_rows(torch.cat(list(classes.values())), [len(images) for images in classes.values()], [*classes])

    def parts(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yields the name of each class and its images, ``uint8`` ``[n, C, H, W]``."""
        images = self.images.numpy()
        for name, start, count in zip(self.names, self.starts, self.counts):
            yield name, images[start : start + count]

    def __len__(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Channels, height and width of an image."""
        return tuple(self.images.shape[1:])

    def groups(self) -> dict[str, np.ndarray]:
        """The classes of each group, by index: those whose names differ behind the last ``/`` alone."""
        members: dict[str, list[int]] = {}
        for index, (name, turns) in enumerate(zip(self.names, self.turns)):
            group = name.rpartition("/")[0]
            mirrored = " mirrored" if turns >= MIRRORED else ""
            turned = f" turned {90 * (turns % 4)}" if turns % 4 else ""
            members.setdefault(group + mirrored + turned, []).append(index)
        return {group: np.array(classes) for group, classes in members.items()}

    def select(self, classes: Sequence[int]) -> "ImageStore":
        """Some of the classes, in the order given."""
        some = np.asarray(classes, dtype=np.int64)
        return replace(
            self,
            starts=self.starts[some],
            counts=self.counts[some],
            names=tuple(self.names[index] for index in some),
            turns=self.turns[some],
        )

    def rotated(self) -> "ImageStore":
        """All classes, and behind them their rotations by 90, 180 and 270 degrees as new classes.

        Raises:
            FewShotError: If the images are not square.
        """
        _, height, width = self.example_shape
        if height != width:
            raise FewShotError(f"images of {height} x {width} cannot be rotated by 90 degrees: set rotations to false")
        four = self.select([*range(len(self))] * 4)
        return replace(four, turns=four.turns + np.repeat(np.arange(4), len(self)))

    def mirrored(self) -> "ImageStore":
        """All classes, and behind them their mirror images as new classes."""
        two = self.select([*range(len(self))] * 2)
        return replace(two, turns=two.turns + np.repeat([0, MIRRORED], len(self)))

    def gather(self, classes: np.ndarray, members: np.ndarray) -> Tensor:
        """The images of a meta-batch.

        Args:
            classes: Classes of each task, ``[T, N]``.
            members: Which images of each, ``[T, N, n]``.

        Returns:
            ``uint8`` ``[T, N*n, C, H, W]``.
        """
        rows = self.starts[classes][..., None] + members
        # NumPy copies whole images faster than torch: as fast for small ones, three times for 2,560 of 84 pixels.
        pixels = self.images.numpy().take(rows.ravel(), axis=0)
        turns = np.broadcast_to(self.turns[classes][..., None], members.shape).ravel()
        mirrored = np.flatnonzero(turns >= MIRRORED)
        if len(mirrored):
            pixels[mirrored] = pixels[mirrored, ..., ::-1]
        for quarters in range(1, 4) if turns.any() else ():
            turned = np.flatnonzero(turns % 4 == quarters)
            pixels[turned] = np.rot90(pixels[turned], quarters, axes=(-2, -1))
        return torch.from_numpy(pixels).unflatten(0, (len(classes), -1))
