"""Few-shot tasks as data: what an episode is, and how the i-th one is drawn."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from fewshot.errors import FewShotError

SPLITS = ("train", "val", "test")


class Examples(NamedTuple):
    """The examples of T tasks.

    Attributes:
        x: Inputs, ``[T, n, C, H, W]``, or ``[T, n, 1]`` for regression.
        y: Labels within the task, 0 to N-1, ``[T, n]``, or targets ``[T, n, 1]``.
    """

    x: Tensor
    y: Tensor


class Episode(NamedTuple):
    """A meta-batch of T tasks.

    Attributes:
        support: The labelled examples to adapt on, n = N*K, class after class; n = K for regression.
        query: The examples to be judged on, n = N*Q, class after class; n = Q for regression.
        classes: Which classes of the split the labels stand for, ``[T, N]``; ``None`` for regression.
    """

    support: Examples
    query: Examples
    classes: Tensor | None = None

    def split(self, tasks: int | None) -> list["Episode"]:
        """Cuts the meta-batch into smaller ones of so many tasks, the last perhaps of fewer; ``None``: into one."""
        count = len(self.query.y)
        return [self._tasks(slice(start, start + (tasks or count))) for start in range(0, count, tasks or count)]

    def _tasks(self, some: slice) -> "Episode":
        support, query = (Examples(examples.x[some], examples.y[some]) for examples in (self.support, self.query))
        return Episode(support, query, None if self.classes is None else self.classes[some])


class ImageEpisodes(Dataset[Episode]):
    """N-way K-shot episodes over images; episode i is a pure function of ``(seed, split, i)`` and of the classes.

    The classes and the queries of a task are drawn before its supports: another number of shots changes the support
    set alone, and the smaller support set is part of the larger one.

    Args:
        images: ``uint8`` images, ``[classes, drawings, H, W]``.
        split: ``train``, ``val`` or ``test``: each has its own stream of episodes.
        ways: Classes per task, N.
        shots: Support examples per class, K.
        queries: Query examples per class, Q.
        length: Number of episodes.
        first: Number of the episode at index 0; a resumed run starts where it stopped.
        seed: Seed of the stream.

    Raises:
        FewShotError: If there are fewer classes than ways, or fewer drawings than shots + queries.
    """

    def __init__(
        self,
        images: Tensor,
        *,
        split: str,
        ways: int,
        shots: int,
        queries: int,
        length: int,
        first: int = 0,
        seed: int = 0,
    ) -> None:
        classes, drawings = images.shape[:2]
        if ways > classes:
            raise FewShotError(
                f"{ways}-way episodes need {ways} classes, but the {split} split has {classes}: lower the ways"
            )
        if shots + queries > drawings:
            raise FewShotError(
                f"shots + queries = {shots} + {queries} = {shots + queries} images per class, but a class of the "
                f"{split} split has {drawings}: lower the shots or the queries"
            )
        self.images = images
        self.ways, self.shots, self.queries = ways, shots, queries
        self.length, self.first = length, first
        self._key = (seed, SPLITS.index(split))

    def __len__(self) -> int:
        return self.length

    def draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws episode ``number``.

        Returns:
            The classes ``[N]``, and for each class its drawings ``[N, Q+K]``, queries first.
        """
        # Philox is counter-based: a stream of its own per episode, at the price of a few microseconds.
        rng = np.random.Generator(np.random.Philox(key=self._key, counter=(0, 0, number, 0)))
        classes, drawings = self.images.shape[:2]
        chosen = rng.choice(classes, self.ways, replace=False)
        order = rng.random((self.ways, drawings)).argsort(axis=1)
        return chosen, order[:, : self.queries + self.shots]

    def __getitems__(self, indices: Sequence[int]) -> Episode:
        """Draws a meta-batch: ``DataLoader`` calls this with the indices of all its tasks at once."""
        draws = [self.draw(self.first + index) for index in indices]
        classes = torch.from_numpy(np.stack([chosen for chosen, _ in draws]))  # [T, N]
        drawings = torch.from_numpy(np.stack([order for _, order in draws]))  # [T, N, Q+K]
        rows = classes[..., None] * self.images.shape[1] + drawings
        labels = torch.arange(self.ways)[None, :, None].expand(rows.shape)
        query, support = (
            Examples(self._rows(row), label.flatten(1))
            for row, label in zip(rows.tensor_split([self.queries], 2), labels.tensor_split([self.queries], 2))
        )
        return Episode(support, query, classes)

    def _rows(self, rows: Tensor) -> Tensor:
        """Gathers images by their row in ``[classes * drawings, H, W]``: ``[T, N, n]`` to ``[T, N*n, 1, H, W]``."""
        # index_select copies whole images, some twenty times faster than indexing by classes and drawings.
        return self.images.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, (len(rows), -1)).unsqueeze(2)

    def __getitem__(self, index: int) -> Episode:
        """Draws the meta-batch of one task, T = 1."""
        return self.__getitems__([index])
