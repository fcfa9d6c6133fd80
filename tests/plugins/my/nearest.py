"""A learner of one's own, of a kind that fewshot does not have."""

import torch.nn.functional as F
from torch import Tensor

from fewshot.algorithms import MetricModule
from fewshot.episodes import Examples


class NearestNeighbour(MetricModule):
    """Each query is of the class of its nearest support example in the embedding."""

    def compare(self, support: Examples, queries: Tensor) -> Tensor:
        """Minus the squared distance to the nearest support example of each class."""
        distances = (queries.unsqueeze(2) - support.x.unsqueeze(1)).square().sum(-1)  # [T, n, N*K]
        of_other_classes = F.one_hot(support.y).bool().logical_not()  # [T, N*K, N]
        return -distances.unsqueeze(-1).masked_fill(of_other_classes.unsqueeze(1), float("inf")).amin(2)
