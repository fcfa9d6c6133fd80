"""What the contestants in PyTorch share."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from fewshot.episodes import Episode


class TorchPeer:
    """A contestant whose module holds all that is learned.

    Args:
        module: That module.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def state(self) -> Any:
        """A copy of the weights, and of batch norm's statistics."""
        return copy.deepcopy(self.module.state_dict())

    def restore(self, state: Any) -> None:
        """Goes back to them."""
        self.module.load_state_dict(state)


class TorchProtoNet(TorchPeer):
    """A contestant that judges the queries of one episode after another, each on its own."""

    @torch.no_grad()
    def predict(self, episode: Episode) -> Tensor:
        """Predicted labels ``[T, n]``."""
        self.module.eval()
        return torch.stack([self.logits(episode, task).argmax(-1) for task in range(len(episode.query.y))])

    def logits(self, episode: Episode, task: int) -> Tensor:
        """Of the queries of one task, ``[n, N]``."""
        raise NotImplementedError
