"""MAML and prototypical networks with learn2learn's modules and the settings of its examples."""

import gym_notices.notices
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.race.in_torch import TorchPeer, TorchProtoNet
from fewshot.episodes import Episode

gym_notices.notices.notices.clear()
import learn2learn  # noqa: E402


class MAML(TorchPeer):
    """As in examples/vision/maml_omniglot.py, with the library's OmniglotCNN in place of a fully connected network.

    A query per class, 32 tasks, one inner step at a rate of 0.5, Adam at 0.003. The example's own validation and test
    in each iteration are left out.
    """

    data = {"ways": 5, "shots": 1, "queries": 1, "meta_batch_size": 32}  # noqa: RUF012

    def __init__(self) -> None:
        self.learner = learn2learn.algorithms.MAML(learn2learn.vision.models.OmniglotCNN(self.data["ways"]), lr=0.5)
        super().__init__(self.learner)
        self.optimizer = torch.optim.Adam(self.learner.parameters(), 0.003)

    def step(self, episode: Episode, progress: float) -> None:
        """One outer step, task after task."""
        self.optimizer.zero_grad()
        tasks = len(episode.query.y)
        for x, y, query_x, query_y in zip(*episode.support, *episode.query):
            clone = self.learner.clone()
            clone.adapt(F.cross_entropy(clone(x), y))
            (F.cross_entropy(clone(query_x), query_y) / tasks).backward()
        self.optimizer.step()

    def predict(self, episode: Episode) -> Tensor:
        """Adapts to each task and judges its queries together, in training mode as the example does."""
        return torch.stack([self._predict(*task) for task in zip(*episode.support, episode.query.x)])

    def _predict(self, x: Tensor, y: Tensor, query: Tensor) -> Tensor:
        clone = self.learner.clone(first_order=True)
        clone.adapt(F.cross_entropy(clone(x), y))
        return clone(query).detach().argmax(-1)


class ProtoNet(TorchProtoNet):
    """As in examples/vision/protonet_miniimagenet.py, with the library's pooling CNN4Backbone for one channel.

    30 ways and 15 queries per class, Adam at 0.001, halved every 20 epochs of 100 episodes.
    """

    data = {"ways": 30, "shots": 1, "queries": 15, "meta_batch_size": 1}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__(learn2learn.vision.models.CNN4Backbone(hidden_size=64, channels=1))
        self.optimizer = torch.optim.Adam(self.module.parameters(), 0.001)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=20 * 100, gamma=0.5)

    def step(self, episode: Episode, progress: float) -> None:
        """One episode, supports and queries embedded together."""
        self.module.train()
        self.optimizer.zero_grad()
        F.cross_entropy(self.logits(episode, 0), episode.query.y[0]).backward()
        self.optimizer.step()
        self.schedule.step()

    def logits(self, episode: Episode, task: int) -> Tensor:
        """Of the queries of one task."""
        support, query = episode.support.x[task], episode.query.x[task]
        embedded = self.module(torch.cat([support, query]))  # of one shot, the supports are the prototypes
        return -(embedded[len(support) :, None] - embedded[None, : len(support)]).square().sum(-1)
