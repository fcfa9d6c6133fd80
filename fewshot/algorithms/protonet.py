"""Prototypical networks."""

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from fewshot.algorithms.metric import MetricModule, prototypes
from fewshot.episodes import Examples
from fewshot.errors import positive
from fewshot.networks import Embedding

Distance = Literal["euclidean", "cosine"]


def distances(x: Tensor, centres: Tensor, distance: Distance) -> Tensor:
    """Distances from each query to each prototype.

    Args:
        x: Embedded queries, ``[T, n, D]``.
        centres: Prototypes, ``[T, N, D]``.
        distance: ``euclidean``: its square, as in the paper; ``cosine``: one minus the cosine similarity.

    Returns:
        ``[T, n, N]``, never negative up to rounding.
    """
    if distance == "cosine":
        return 1 - F.normalize(x, dim=-1) @ F.normalize(centres, dim=-1).transpose(1, 2)
    return (x.unsqueeze(2) - centres.unsqueeze(1)).square().sum(-1)


class ProtoNetModule(MetricModule):
    """Prototypical network: learns an embedding in which the nearest class mean is the right one.

    Snell, Swersky and Zemel, 2017, Prototypical Networks for Few-shot Learning, https://arxiv.org/abs/1703.05175.
    Deviations: a training step may hold several episodes (``meta_batch_size``), whose images share batch-norm
    statistics; with one episode it is the paper's.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        distance: Squared ``euclidean`` distance, as in the paper, or ``cosine`` distance.
        temperature: Logits are minus the distance divided by this; below 1 for the cosine, which spans only 0 to 2.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    def __init__(
        self, network: Embedding, distance: Distance = "euclidean", temperature: float = 1.0, **shared: Any
    ) -> None:
        super().__init__(network, **shared)
        positive(temperature=temperature)
        self.distance = distance
        self.temperature = temperature

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Minus the distances to the prototypes."""
        return -distances(queries, prototypes(support), self.distance) / self.temperature
