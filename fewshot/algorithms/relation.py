"""Relation networks."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewshot.algorithms.gradients import OuterStep
from fewshot.algorithms.metric import MetricModule, prototypes
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError, at_least_one
from fewshot.fast.layers import BatchNorm, Conv2d
from fewshot.networks import Embedding

TrainLoss = Literal["mse", "cross-entropy"]


class Relation(nn.Module):
    """How well a query's feature maps go with a class's: two blocks of 3x3 convolution, and two linear layers.

    The first convolution is over the maps of both, one upon the other. It is linear: so each class and each query goes
    through its half once, and the pairs begin at the sum.

    Args:
        shape: Of the feature maps, ``(C, h, w)``.
        hidden: Outputs of the first linear layer.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: int) -> None:
        super().__init__()
        channels, height, width = self.shape = shape
        geometry = {"kernel_size": 3, "stride": 1, "padding": 1}
        self.of_class, self.of_query, self.of_pair = (Conv2d(channels, channels, **geometry) for _ in range(3))
        self.first_norm, self.second_norm = BatchNorm(channels), BatchNorm(channels)
        self.head = nn.Sequential(nn.Linear(channels * height * width, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, classes: Tensor, queries: Tensor) -> Tensor:
        """Scores before the sigmoid, ``[T, n, N]``, of classes ``[T, N, D]`` and queries ``[T, n, D]``."""
        tasks, ways, count = *classes.shape[:2], queries.shape[1]
        halves = self.of_class(self._maps(classes)), self.of_query(self._maps(queries))
        of_classes, of_queries = (half.unflatten(0, (tasks, -1)) for half in halves)
        x = (of_queries.unsqueeze(2) + of_classes.unsqueeze(1)).flatten(0, 2)  # [T*n*N, C, h, w]
        x = torch.relu(self.first_norm(x))
        x = torch.relu(self.second_norm(self.of_pair(x)))
        return self.head(x.flatten(1)).view(tasks, count, ways)

    def _maps(self, features: Tensor) -> Tensor:
        return features.reshape(-1, *self.shape)


class RelationModule(MetricModule):
    """Relation network: learns how to compare, beside the embedding in which it compares.

    Sung, Yang, Zhang, Xiang, Torr and Hospedales, 2018, Learning to Compare: Relation Network for Few-Shot Learning,
    https://arxiv.org/abs/1711.06025. Each query's feature maps are laid upon those of each class, and a network scores
    the pair: the sigmoid is to be 1 for the right class and 0 for the others.
    Deviations: the feature maps of a class are its supports' mean, not their sum, so that a test may have other shots
    than the training. The scoring network does not pool, as Conv4 leaves no more than 2 x 2 places.

    Args:
        network: The embedding network. Its batch norm has to keep running statistics, and its features places
            (``Conv4``: ``running_statistics: true``, ``cells: 2``).
        hidden: Length of the scoring network's last hidden layer.
        train_loss: What is descended: ``mse``, the squared error of the scores as in the paper, or ``cross-entropy``,
            of the softmax over a query's scores before the sigmoid, which does not mind that most pairs are wrong.
        **shared: The options of every learner.

    Raises:
        FewShotError: If the network's batch norm keeps no running statistics, its features have no places, or a number
            is out of range.
    """

    def __init__(self, network: Embedding, hidden: int = 8, train_loss: TrainLoss = "mse", **shared: Any) -> None:
        super().__init__(network, **shared)
        at_least_one(hidden=hidden)
        _, height, width = network.feature_shape
        if height * width == 1:
            raise FewShotError(
                f"Relation compares feature maps, and the features of {type(network).__name__} are of 1 x 1 places: "
                "--model.network.cells 2 keeps those of Conv4"
            )
        self.train_loss = train_loss
        self.relation = Relation(network.feature_shape, hidden)

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Scores before the sigmoid."""
        return self.relation(prototypes(support), queries)

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss of the queries' scores for all classes."""
        if self.train_loss == "cross-entropy":
            return super().outer_loss(episode)
        scores = self.compare(*self.embed(episode))
        right = F.one_hot(episode.query.y, scores.shape[-1]).to(scores.dtype)
        return OuterStep(F.mse_loss(scores.sigmoid(), right), scores)
