"""Statistics over episodes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import ttest_rel
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


def paired_difference(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Difference:
    """Compares two learners episode by episode, with SciPy's paired t-test.

    Args:
        ours: One value per episode; ``None`` stands for NaN, which makes the difference NaN.
        theirs: The other learner's values on the same episodes, at least two.
    """
    first, second = (np.array(values, dtype=float) for values in (ours, theirs))  # of None, it makes NaN
    differences = first - second
    mean = float(differences.mean())
    if np.ptp(differences) < 1e-9:  # no spread but rounding, no t statistic
        return Difference(mean, 0.0, float(np.sign(mean) * np.inf) if mean else 0.0, float(mean == 0), len(differences))
    test = ttest_rel(first, second)
    ci95 = float(test.confidence_interval(0.95).high) - mean
    return Difference(mean, ci95, float(test.statistic), float(test.pvalue), len(differences))
