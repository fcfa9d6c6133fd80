"""What the learners share that compare queries with a support set in an embedding: any number of ways and shots."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from fewshot.algorithms.base import EpisodicModule
from fewshot.algorithms.gradients import OuterStep
from fewshot.episodes import Episode, Examples, Prediction
from fewshot.errors import FewShotError
from fewshot.networks import Embedding, keeps_running_statistics

IMAGES_AT_ONCE = 128
"""Images to embed at once in an evaluation, where each is judged on its own: fewer fit a processor's cache."""


class MetricModule(EpisodicModule):
    """A learner that compares the queries with the support set in an embedding.

    Each query is judged on its own: batch norm normalises by the statistics of training.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    def __init__(self, network: Embedding, **shared: Any) -> None:
        super().__init__(loss="cross-entropy", **shared)
        if keeps_running_statistics(network) is False:
            raise FewShotError(
                f"{self.title} needs batch norm with running statistics, or else the tasks of a meta-batch change one "
                "another's predictions: --model.network.running_statistics true"
            )
        self.network = network

    @abstractmethod
    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Logits of the queries, ``[T, n, N]``.

        Args:
            support: Embeddings ``[T, N*K, D]`` and labels ``[T, N*K]``, in any order.
            queries: Embeddings ``[T, n, D]``.
        """

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss of the queries, all images of all tasks embedded together."""
        logits = self._logits(episode, at_once=None)
        return OuterStep(self.loss(logits, episode.query.y), logits)

    def predict(self, episode: Episode) -> Prediction:
        """Compares, each image embedded on its own."""
        with torch.no_grad():
            return Prediction(self._logits(episode, IMAGES_AT_ONCE))

    def _logits(self, episode: Episode, at_once: int | None) -> Tensor:
        tasks, supports = episode.support.y.shape
        images = torch.cat([episode.support.x, episode.query.x], dim=1).flatten(0, 1)  # [T*N*(K+Q), C, H, W]
        parts = [self.network(part) for part in images.split(at_once or len(images))]
        embedded = torch.cat(parts).unflatten(0, (tasks, -1))  # [T, N*(K+Q), D]
        return self.compare(Examples(embedded[:, :supports], episode.support.y), embedded[:, supports:])

    def describe(self) -> dict[str, Any]:
        """No steps are taken."""
        return {"adaptation_steps": 0, "batch_norm": "running"}
