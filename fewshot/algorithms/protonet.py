"""Prototypical networks."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fewshot.algorithms.base import EpisodicModule, LRSchedulerCallable, Prediction
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.networks import Embedding, keeps_running_statistics

Distance = Literal["euclidean", "cosine"]


def prototypes(support: Examples) -> Tensor:
    """Class means of embedded supports.

    Args:
        support: Embeddings ``[T, N*K, D]`` and labels ``[T, N*K]``, in any order.

    Returns:
        The prototypes, ``[T, N, D]``.
    """
    members = F.one_hot(support.y).to(support.x.dtype)  # [T, N*K, N]
    return torch.einsum("tsn,tsd->tnd", members, support.x) / members.sum(1).unsqueeze(-1)


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


class ProtoNetModule(EpisodicModule):
    """Prototypical network: learns an embedding in which the nearest class mean is the right one.

    Snell, Swersky and Zemel, 2017, Prototypical Networks for Few-shot Learning, https://arxiv.org/abs/1703.05175.
    Deviations: a training step may hold several episodes (``meta_batch_size``), whose images share batch-norm
    statistics; with one episode it is the paper's. Each query is judged on its own (inductive): batch norm normalises
    by the running averages of training.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        distance: Squared ``euclidean`` distance, as in the paper, or ``cosine`` distance.
        temperature: Logits are minus the distance divided by this; below 1 for the cosine, which spans only 0 to 2.
        meta_lr: Step size of Adam.
        lr_scheduler: Schedule of the step size, stepped once per outer step; constant if not given.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, or a number is out of range.
    """

    def __init__(
        self,
        network: Embedding,
        distance: Distance = "euclidean",
        temperature: float = 1.0,
        meta_lr: float = 1e-3,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(meta_lr, lr_scheduler)
        if keeps_running_statistics(network) is False:
            raise FewShotError(
                "ProtoNet needs batch norm with running statistics, or else the tasks of a meta-batch change one "
                "another's predictions: --model.network.running_statistics true"
            )
        if temperature <= 0:
            raise FewShotError(f"temperature must be positive, not {temperature}")
        self.network = network
        self.distance = distance
        self.temperature = temperature

    def forward(self, episode: Episode) -> Prediction:
        """Softmax scores of the queries: minus their distances to the prototypes."""
        return self._predict(episode, self.network)

    def evaluate(self, episode: Episode) -> Prediction:
        """The same, embedding few images at a time: each is judged on its own, and fewer fit a processor's cache."""
        return self._predict(episode, lambda images: torch.cat([self.network(part) for part in images.split(128)]))

    def _predict(self, episode: Episode, embed: Callable[[Tensor], Tensor]) -> Prediction:
        tasks, supports = episode.support.y.shape
        images = torch.cat([episode.support.x, episode.query.x], dim=1)  # [T, N*(K+Q), C, H, W]
        embedded = embed(images.flatten(0, 1)).unflatten(0, (tasks, -1))  # [T, N*(K+Q), D]
        centres = prototypes(Examples(embedded[:, :supports], episode.support.y))
        return Prediction(-distances(embedded[:, supports:], centres, self.distance) / self.temperature)

    def describe(self) -> dict[str, Any]:
        """ProtoNet takes no steps; its batch norm is inductive."""
        return {"adaptation_steps": 0, "batch_norm": "inductive"}
