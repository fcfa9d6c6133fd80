"""Statistics over episodes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor
from torchmetrics.aggregation import CatMetric


class Summary(NamedTuple):
    """Mean over episodes, with how far to trust it.

    Attributes:
        mean: Mean over episodes.
        std: Standard deviation over episodes (n - 1 in the denominator); ``None`` of one episode, which has no spread.
        ci95: Half-width of the 95 % confidence interval of the mean, 1.96 * std / sqrt(episodes); ``None`` of one
            episode, which does not say how far to trust it.
        episodes: Number of episodes that were evaluated.
    """

    mean: float
    std: float | None
    ci95: float | None
    episodes: int


class EpisodeStatistics(CatMetric):
    """Collects one value per episode and summarises them."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")

    def summary(self) -> Summary:
        """The :class:`Summary` of the values collected so far, over all processes."""
        values = self.compute().cpu().double()
        mean, episodes = values.mean().item(), values.numel()
        if episodes == 1:
            return Summary(mean, None, None, episodes)
        std = values.std().item()
        return Summary(mean, std, 1.96 * std / episodes**0.5, episodes)


def summarised(values: Tensor | Sequence[float]) -> Summary:
    """The :class:`Summary` of one value per episode, or of whatever else is counted."""
    statistics = EpisodeStatistics()
    statistics.update(torch.as_tensor(values))
    return statistics.summary()


class Difference(NamedTuple):
    """How two learners differ on the same episodes.

    Attributes:
        mean: Mean over episodes of the first one's value minus the second one's.
        ci95: Half-width of its 95 % confidence interval by Student's t, which excludes 0 exactly where p < 0.05.
        t: The paired t statistic; infinite, or 0, where all differences are equal.
        p: Its two-sided p-value.
        episodes: Number of episodes.
    """

    mean: float
    ci95: float
    t: float
    p: float
    episodes: int


def difference_of_means(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Compares two recipes of which there are several trainings each, on the same episodes.

    What the trainings differ by, and the episodes, add up to the variance of the difference; its degrees of freedom are
    Welch and Satterthwaite's. Of a recipe with one training, nothing is known of what others would differ by. With one
    training each it is the paired t-test.

    Args:
        ours: Values per training and episode, ``[trainings, episodes]``.
        theirs: The other recipe's, ``[trainings, episodes]``, on the same episodes, at least two.
    """
    differences = ours.mean(0) - theirs.mean(0)
    samples = [differences, *(some.mean(1) for some in (ours, theirs) if len(some) > 1)]
    parts = [(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in samples]
    mean, variance = float(differences.mean()), float(sum(part for part, _ in parts))
    if variance < 1e-18:  # no spread but rounding, no t statistic
        return Difference(mean, 0.0, float(np.sign(mean) * np.inf) if mean else 0.0, float(mean == 0), len(differences))
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error, t = variance**0.5, mean / variance**0.5
    p = float(2 * student.sf(abs(t), freedom))
    return Difference(mean, float(student.ppf(0.975, freedom)) * error, t, p, len(differences))


def paired_difference(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Difference:
    """Compares two learners episode by episode, with the paired t-test.

    Args:
        ours: One value per episode; ``None`` stands for NaN, which makes the difference NaN.
        theirs: The other learner's values on the same episodes, at least two.
    """
    first, second = (np.array([values], dtype=float) for values in (ours, theirs))  # of None, it makes NaN
    return difference_of_means(first, second)
