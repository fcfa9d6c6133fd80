"""Embedding networks (the body), and the classifier that puts a linear head on one."""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from fewshot.errors import FewShotError
from fewshot.layers import BatchNorm, Conv2d, batch_norm


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
        self.in_channels, self.out_features = in_channels, channels
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
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise FewShotError(
                f"the network takes images of {self.in_channels} channels, and the data have examples of shape "
                f"{list(x.shape[1:])}: choose another --model.network"
            )
        for convolution, norm in zip(self.convolutions, self.norms):
            x = self.pool(torch.relu(norm(convolution(x), support_size)))
        return x.mean(dim=(2, 3))


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


class PerStepBatchNorm(nn.Module):
    """Batch normalisation whose scale and shift are other ones after each number of inner steps.

    Antoniou, Edwards and Storkey, 2019, How to Train Your MAML, https://arxiv.org/abs/1810.09502, section 4. They are
    learned by the outer loop alone. Deviation: no running statistics per step. The authors' code keeps some and never
    normalises by them; here, too, statistics are of the batch at hand.

    Args:
        norm: The batch norm that it stands in for; its scale and shift are where each starts.
        steps: Inner steps in training: there are ``steps + 1`` scales and shifts, and the last serve for more steps.

    Attributes:
        step: How many inner steps were taken.
    """

    def __init__(self, norm: BatchNorm, steps: int) -> None:
        super().__init__()
        self.eps = norm.eps
        self.step = 0
        self.weight = nn.Parameter(norm.weight.detach().repeat(steps + 1, 1))
        self.bias = nn.Parameter(norm.bias.detach().repeat(steps + 1, 1))

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Normalises ``x`` of shape ``[n, C, H, W]``."""
        step = min(self.step, len(self.weight) - 1)
        return batch_norm(x, self.weight[step], self.bias[step], self.eps, support_size)


def per_step(network: nn.Module, steps: int) -> int:
    """Gives every batch norm of a network scales and shifts per inner step, in place, and says how many there were."""
    count = 0
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchNorm):
                setattr(module, name, PerStepBatchNorm(child, steps))
                count += 1
    return count


def keeps_running_statistics(network: nn.Module) -> bool | None:
    """Whether any batch norm of a network keeps running statistics; ``None`` if it has no batch norm."""
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]
    return any(norm.track_running_stats for norm in norms) if norms else None


class Classifier(nn.Module):
    """An embedding network with a linear head.

    Args:
        features: The body.
        outputs: Number of outputs of the head: the classes of a task, or the dimensions of a target.
    """

    def __init__(self, features: Embedding, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.head = nn.Linear(features.out_features, outputs)

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Maps the examples of one task, ``[n, ...]``, to outputs ``[n, outputs]``."""
        return self.head(self.features(x, support_size))
