"""Embedding networks (the body), and the classifier that puts a linear head on one."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from fewshot.layers import BatchNorm, Conv2d


class Embedding(nn.Module, ABC):
    """A network from examples to feature vectors.

    Attributes:
        out_features: Length of a feature vector.
    """

    out_features: int

    @abstractmethod
    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds ``x``, ``[n, ...]``, as ``[n, out_features]``.

        Args:
            x: The examples of one task.
            support_size: If given, batch statistics come from the first so many examples alone.
        """


class Conv4(Embedding):
    """Four blocks of 3x3 convolution, batch norm and ReLU, each halving the image; then the mean over space.

    The network of Vinyals et al., 2016, Matching Networks for One Shot Learning, https://arxiv.org/abs/1606.04080.
    Finn et al., 2017 (MAML) halve by strides on Omniglot, Snell et al., 2017 (prototypical networks) by pooling.
    The convolutions have no bias: batch norm would cancel it.

    Args:
        channels: Filters per layer, and length of the feature vector.
        in_channels: Channels of the images.
        downsample: How a block halves the image: a strided convolution, or 2x2 max-pooling (dearer: 3 to 4 times the
            multiplications).
        running_statistics: If true, batch norm keeps running averages while training and normalises by them in
            evaluation; if false, it always normalises by the batch at hand. MAML wants false.
    """

    def __init__(
        self,
        channels: int = 64,
        in_channels: int = 1,
        downsample: Literal["stride", "pool"] = "stride",
        running_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.out_features = channels
        stride = 2 if downsample == "stride" else 1
        self.convolutions = nn.ModuleList(
            Conv2d(in_channels if i == 0 else channels, channels, kernel_size=3, stride=stride, padding=1)
            for i in range(4)
        )
        self.norms = nn.ModuleList(
            BatchNorm(channels, track_running_stats=running_statistics) for _ in self.convolutions
        )
        self.pool = nn.MaxPool2d(2) if downsample == "pool" else nn.Identity()

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Embeds images ``[n, C, H, W]`` as ``[n, channels]``."""
        for convolution, norm in zip(self.convolutions, self.norms):
            x = self.pool(torch.relu(norm(convolution(x), support_size)))
        return x.mean(dim=(2, 3))


def keeps_running_statistics(network: nn.Module) -> bool | None:
    """Whether any batch norm of a network keeps running statistics; ``None`` if it has no batch norm."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
    return any(norm.track_running_stats for norm in norms) if norms else None


class Classifier(nn.Module):
    """An embedding network with a linear head.

    Args:
        features: The body.
        outputs: Number of outputs of the head: the classes of a task.
    """

    def __init__(self, features: Embedding, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(features.out_features, outputs)

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Maps the examples of one task, ``[n, ...]``, to logits ``[n, outputs]``."""
        return self.head(self.features(x, support_size))
