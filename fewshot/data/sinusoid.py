"""Sinusoids: regression tasks that are small enough to see."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import Dataset

from fewshot.data.base import EpisodicDataModule
from fewshot.episodes import SPLITS, DataSpec, Episode, Examples, Prediction
from fewshot.errors import FewShotError, in_range
from fewshot.plots import fits_grid

Range = tuple[float, float]

DRAWN = 4  # tasks in a figure
MOST_POINTS = 10**6  # of a task; more are mistyped, and exhaust the memory


class SinusoidEpisodes(Dataset[Episode]):
    """Tasks y = A sin(x + φ); episode i is a pure function of ``(seed, split, i)`` and of the ranges.

    The wave and the queries of a task are drawn before its supports: another number of shots changes the support set
    alone, and the smaller support set is part of the larger one.

    Args:
        amplitude: Range of A.
        phase: Range of φ.
        x: Range of the inputs.
        split: ``train``, ``val`` or ``test``: each has its own stream of episodes.
        shots: Support examples, K.
        queries: Query examples, Q.
        length: Number of episodes.
        first: Number of the episode at index 0.
        seed: Seed of the stream.
        dtype: Of the examples.
    """

    def __init__(
        self,
        amplitude: Range,
        phase: Range,
        x: Range,
        *,
        split: str,
        shots: int,
        queries: int,
        length: int,
        first: int = 0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.low, self.high = (np.array(ends) for ends in zip(amplitude, phase))
        self.x = x
        self.shots, self.queries = shots, queries
        self.length, self.first = length, first
        self.dtype = dtype
        self._key = (seed, SPLITS.index(split))

    def __len__(self) -> int:
        return self.length

    def draw(self, number: int) -> np.ndarray:
        """Draws episode ``number``: 0 to 1 for amplitude, phase, queries and supports, ``[2 + Q + K]``."""
        return np.random.Generator(np.random.Philox(key=self._key, counter=(0, 0, number, 0))).random(
            2 + self.queries + self.shots
        )

    def __getitems__(self, indices: Sequence[int]) -> Episode:
        """Draws a meta-batch: ``DataLoader`` calls this with the indices of all its tasks at once."""
        draws = np.stack([self.draw(self.first + index) for index in indices])
        waves = self.low + (self.high - self.low) * draws[:, :2]
        amplitude, phase = waves.T[..., None]  # [T, 1] each
        x = self.x[0] + (self.x[1] - self.x[0]) * draws[:, 2:]
        y = amplitude * np.sin(x + phase)
        query, support = (
            Examples(*part)
            for part in zip(*(self._tensor(values).tensor_split([self.queries], dim=1) for values in (x, y)))
        )
        return Episode(support, query)

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(self.dtype).unsqueeze(-1)

    def __getitem__(self, index: int) -> Episode:
        """Draws the meta-batch of one task, T = 1."""
        return self.__getitems__([index])


class SinusoidDataModule(EpisodicDataModule):
    """Regression of sinusoids, y = A sin(x + φ), from K points each.

    Finn, Abbeel and Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks,
    https://arxiv.org/abs/1703.03400, section 5.1. Deviation: the inputs of queries are drawn anew for each task, many
    of them in a test, so that its error is of the function.

    Args:
        amplitude: Range of A.
        phase: Range of φ; Nichol et al., 2018 (Reptile) draw it from 0 to 2π.
        x: Range of the inputs.
        shots: Support points per task in training.
        queries: Query points per task in training.
        **sizes: The options of every episodic data set.

    Raises:
        FewShotError: If a range is empty or a number is out of its range.
    """

    def __init__(
        self,
        amplitude: Range = (0.1, 5.0),
        phase: Range = (0.0, math.pi),
        x: Range = (-5.0, 5.0),
        shots: int = 10,
        queries: int = 10,
        **sizes: Any,
    ) -> None:
        super().__init__(shots=shots, queries=queries, **sizes)
        points = {"shots": shots, "queries": queries, "test_shots": self.test_shots, "test_queries": self.test_queries}
        in_range(1, MOST_POINTS, **points)
        self.ranges: dict[str, Range] = {}
        for name, ends in {"amplitude": amplitude, "phase": phase, "x": x}.items():
            low, high = ends or (math.nan, math.nan)  # null
            if not low < high or not math.isfinite(high - low):
                raise FewShotError(f"{name} must be a range from a lower to a higher number, not [{low}, {high}]")
            self.ranges[name] = float(low), float(high)

    def dataset(self, split: str, length: int | None = None, first: int = 0) -> SinusoidEpisodes:
        """The episodes of a split, ``length`` of them (a meta-batch if not given) from number ``first`` on."""
        train = split == "train"
        return SinusoidEpisodes(
            **self.ranges,
            split=split,
            shots=self.shots if train else self.test_shots,
            queries=self.queries if train else self.test_queries,
            length=self.meta_batch_size if length is None else length,
            first=first,
            seed=self.train_seed if train else self.seed,
            dtype=self.dtype,
        )

    @property
    def spec(self) -> DataSpec:
        """One number in, one number out."""
        return DataSpec(outputs=1, test_outputs=1, loss="mse", example_shape=(1,))

    def figure(self, episode: Episode, prediction: Prediction) -> Figure:
        """The first four tasks: the function, the support points, and what was predicted before and after."""
        fits = {"before": prediction.before, "after": prediction.outputs}
        drawn = {name: values for name, values in fits.items() if values is not None}
        return fits_grid(episode.chunks(DRAWN)[0], {"": drawn})

    @property
    def digest(self) -> str:
        """Fingerprint of the ranges."""
        return hashlib.sha256(repr(self.ranges).encode()).hexdigest()[:16]
