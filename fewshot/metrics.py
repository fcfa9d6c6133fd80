"""Statistics over episodes."""

from typing import NamedTuple

from torchmetrics.aggregation import CatMetric


class Summary(NamedTuple):
    """Mean over episodes, with how far to trust it.

    Attributes:
        mean: Mean over episodes.
        std: Standard deviation over episodes (n - 1 in the denominator); 0 for a single episode.
        ci95: Half-width of the 95 % confidence interval of the mean, 1.96 * std / sqrt(episodes).
        episodes: Number of episodes.
    """

    mean: float
    std: float
    ci95: float
    episodes: int


class EpisodeStatistics(CatMetric):
    """Collects one value per episode and summarises them."""

    def __init__(self) -> None:
        super().__init__(nan_strategy="disable")

    def summary(self) -> Summary:
        """The :class:`Summary` of the values collected so far, over all processes."""
        values = self.compute().cpu().double()
        std = values.std().item() if values.numel() > 1 else 0.0
        return Summary(values.mean().item(), std, 1.96 * std / values.numel() ** 0.5, values.numel())
