"""Prototypical networks with easyfsl's class and the settings of its notebook on episodic training."""

import torch
import torch.nn.functional as F
from easyfsl.methods import PrototypicalNetworks
from torch import Tensor

from benchmarks.engines import pooling_conv4
from benchmarks.race.in_torch import TorchProtoNet
from fewshot.episodes import Episode

MILESTONES = (0.6, 0.8)
"""120 and 160 of the notebook's 200 epochs, as shares of the training."""


class ProtoNet(TorchProtoNet):
    """As in notebooks/episodic_training.ipynb, with a pooling Conv4 in place of its ResNet-18.

    5 ways and 10 queries per class, SGD at 0.01 with momentum 0.9 and weight decay 0.0005, a tenth at 60 % and again
    at 80 % of the time.
    """

    data = {"ways": 5, "shots": 1, "queries": 10, "meta_batch_size": 1}  # noqa: RUF012

    def __init__(self) -> None:
        self.classifier = PrototypicalNetworks(pooling_conv4())
        super().__init__(self.classifier)
        self.optimizer = torch.optim.SGD(self.classifier.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)

    def step(self, episode: Episode, progress: float) -> None:
        """One episode."""
        self.classifier.train()
        for group in self.optimizer.param_groups:
            group["lr"] = 0.01 * 0.1 ** sum(progress >= milestone for milestone in MILESTONES)
        self.optimizer.zero_grad()
        F.cross_entropy(self.logits(episode, 0), episode.query.y[0]).backward()
        self.optimizer.step()

    def logits(self, episode: Episode, task: int) -> Tensor:
        """Of the queries of one task."""
        self.classifier.process_support_set(episode.support.x[task], episode.support.y[task])
        return self.classifier(episode.query.x[task])
