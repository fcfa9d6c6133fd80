"""A network of linear layers."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from fewshot.errors import FewShotError
from fewshot.networks.base import Embedding


class MLP(Embedding):
    """Linear layers, each with a ReLU behind it.

    With the head on top, the default is the 1-40-40-1 of Finn et al., 2017, Model-Agnostic Meta-Learning for Fast
    Adaptation of Deep Networks, https://arxiv.org/abs/1703.03400, section 5.1. Deviation: torch's initial weights; the
    original draws them from a truncated normal of standard deviation 0.01.

    Args:
        in_features: Length of an input; images are flattened.
        widths: Units of each layer, the last of them the length of the feature vector.
    """

    def __init__(self, in_features: int = 1, widths: tuple[int, ...] = (40, 40)) -> None:
        super().__init__()
        if min([in_features, *widths]) < 1 or not widths:
            raise FewShotError(f"in_features and all widths must be at least 1: got {in_features} and {list(widths)}")
        self.in_features, self.out_features = in_features, widths[-1]
        self.layers = nn.ModuleList(nn.Linear(*sizes) for sizes in pairwise([in_features, *widths]))

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds ``[n, ...]`` as ``[n, widths[-1]]``."""
        x = x.flatten(1)
        if x.shape[1] != self.in_features:
            raise FewShotError(
                f"the network takes {self.in_features} numbers per example, and the data have {x.shape[1]}: "
                f"--model.network.in_features {x.shape[1]}"
            )
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x
