"""From images of some classes to episodes, each of which is a pure function of its number."""

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from fewshot.data.store import ImageStore
from fewshot.episodes import SPLITS, Episode, Examples
from fewshot.errors import FewShotError, listed


def option(split: str, size: str) -> str:
    """How the ways, shots or queries of a split are typed; those of validation are those of the test."""
    return f"--data.{'' if split == 'train' else 'test_'}{size}"


class ImageEpisodes(Dataset[Episode]):
    """N-way K-shot episodes over images; episode i is a pure function of ``(seed, split, i)`` and of the classes.

    The classes and the queries of a task are drawn before its supports: another number of shots changes the support
    set alone, and the smaller support set is part of the larger one.

    Args:
        store: The images of the split.
        split: ``train``, ``val`` or ``test``: each has its own stream of episodes.
        ways: Classes per task, N.
        shots: Support examples per class, K.
        queries: Query examples per class, Q.
        length: Number of episodes.
        first: Number of the episode at index 0; a resumed run starts where it stopped.
        seed: Seed of the stream.
        within_groups: Share of the episodes whose classes are drawn from one group, such as an alphabet; of groups with
            fewer classes than ways there are none.
        remedy: What else than to lower the ways helps where there are too few classes, as in ", or draw more".

    Raises:
        FewShotError: If there are fewer classes than ways, or a class has fewer images than shots + queries.
    """

    def __init__(
        self,
        store: ImageStore,
        *,
        split: str,
        ways: int,
        shots: int,
        queries: int,
        length: int,
        first: int = 0,
        seed: int = 0,
        within_groups: float = 0.0,
        remedy: str = "",
    ) -> None:
        groups = list(store.groups().values()) if within_groups else [np.arange(len(store))]
        self.groups = [group for group in groups if len(group) >= ways]
        if not self.groups:
            raise FewShotError(
                f"{ways}-way episodes need {ways} classes, but "
                + (f"the largest group of the {split} split" if within_groups else f"the {split} split")
                + f" has {max((len(group) for group in groups), default=0)}: "
                f"lower {option(split, 'ways')}{remedy}"
            )
        drawn = np.concatenate(self.groups) if within_groups in (0, 1) else np.arange(len(store))
        small = drawn[store.counts[drawn] < shots + queries]
        if len(small):
            fewest = sorted(small, key=store.counts.__getitem__)
            some = listed([f"{store.names[one]} {store.counts[one]}" for one in fewest])
            told = f"{len(small)} of the {len(store)} classes of the {split} split have fewer, {some}"
            if len(small) == len(store) and np.ptp(store.counts) == 0:
                told = f"each class of the {split} split has {store.counts[0]}"
            raise FewShotError(
                f"shots + queries = {shots} + {queries} = {shots + queries} images per class, but {told}: "
                f"lower {option(split, 'shots')} or {option(split, 'queries')}"
            )
        self.store = store
        self.uneven = np.ptp(store.counts) > 0
        self.within_groups = within_groups
        self.ways, self.shots, self.queries = ways, shots, queries
        self.length, self.first = length, first
        self._rng = np.random.Generator(np.random.Philox(key=(seed, SPLITS.index(split))))
        self._start = self._rng.bit_generator.state

    def __len__(self) -> int:
        return self.length

    def draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws episode ``number``.

        Returns:
            The classes ``[N]``, and for each class which of its images, ``[N, Q+K]``, queries first.
        """
        rng = self._stream(number)
        if 0 < self.within_groups < 1 and rng.random() >= self.within_groups:
            classes = rng.choice(len(self.store), self.ways, replace=False)
        else:
            group = self.groups[rng.integers(len(self.groups))] if len(self.groups) > 1 else self.groups[0]
            classes = group[rng.choice(len(group), self.ways, replace=False)]
        counts = self.store.counts[classes]
        order = rng.random((self.ways, counts.max()))
        if self.uneven:
            order[np.arange(counts.max()) >= counts[:, None]] = np.inf  # a class has no more than its own
        return classes, order.argsort(axis=1)[:, : self.queries + self.shots]

    def _stream(self, number: int) -> np.random.Generator:
        """The random numbers of an episode: Philox counts, so each has a stream of its own, for a microsecond."""
        self._start["state"]["counter"][2] = number
        self._rng.bit_generator.state = self._start
        return self._rng

    def __getitems__(self, indices: Sequence[int]) -> Episode:
        """Draws a meta-batch: ``DataLoader`` calls this with the indices of all its tasks at once."""
        classes, members = (np.stack(parts) for parts in zip(*(self.draw(self.first + index) for index in indices)))
        labels = torch.arange(self.ways)
        query, support = (
            Examples(self.store.gather(classes, part), labels.repeat_interleave(part.shape[2]).repeat(len(classes), 1))
            for part in np.split(members, [self.queries], axis=2)
        )
        return Episode(support, query, torch.from_numpy(classes))

    def __getitem__(self, index: int) -> Episode:
        """Draws the meta-batch of one task, T = 1."""
        return self.__getitems__([index])
