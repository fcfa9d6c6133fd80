"""Prototypical networks."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot.algorithms.metric import IMAGES_AT_ONCE, MetricModule, prototypes
from fewshot.episodes import Episode, Examples, Prediction
from fewshot.errors import in_range, positive
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
        test_refinement_steps: In evaluation, steps of soft k-means that move the prototypes towards the queries, each
            of which counts for a class as far as it is taken for one: Ren et al., 2018, Meta-Learning for
            Semi-Supervised Few-Shot Classification, https://arxiv.org/abs/1803.00676. Deviation: what is unlabelled
            are the queries themselves, which are then judged together: the learner is transductive.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    def __init__(
        self,
        network: Embedding,
        distance: Distance = "euclidean",
        temperature: float = 1.0,
        test_refinement_steps: int = 0,
        **shared: Any,
    ) -> None:
        super().__init__(network, **shared)
        positive(temperature=temperature)
        in_range(0, 1000, test_refinement_steps=test_refinement_steps)
        self.distance = distance
        self.temperature = temperature
        self.test_refinement_steps = test_refinement_steps

    @property
    def together(self) -> bool:
        """Queries that refine the prototypes are judged together."""
        return self.test_refinement_steps > 0

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Minus the distances to the prototypes."""
        return self.logits(queries, prototypes(support))

    def logits(self, queries: Tensor, centres: Tensor) -> Tensor:
        """Minus the distances of queries ``[T, n, D]`` to prototypes ``[T, N, D]``: ``[T, n, N]``."""
        return -distances(queries, centres, self.distance) / self.temperature

    def predict(self, episode: Episode) -> Prediction:
        """Compares the queries with the prototypes, which they may have refined."""
        with torch.no_grad():
            support, queries = self.embed(episode, IMAGES_AT_ONCE)
            centres = prototypes(support)
            for _ in range(self.test_refinement_steps):
                centres = self.refined(centres, support, queries)
            return Prediction(self.logits(queries, centres))

    def refined(self, centres: Tensor, support: Examples, queries: Tensor) -> Tensor:
        """Prototypes ``[T, N, D]`` after a step of soft k-means: means of the supports and of what queries count."""
        members = F.one_hot(support.y).to(queries.dtype)  # [T, N*K, N]
        counts = torch.cat([members, self.logits(queries, centres).softmax(-1)], dim=1)  # [T, N*K + n, N]
        sums = counts.transpose(1, 2) @ torch.cat([support.x, queries], dim=1)
        return sums / counts.sum(1).unsqueeze(-1)

    def describe(self) -> dict[str, Any]:
        """What a test did with the prototypes."""
        steps = self.test_refinement_steps
        return {**super().describe(), **({"test_refinement_steps": steps} if steps else {})}
