"""What is measured: one outer step on given data, from given weights, the same for every engine."""

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

INNER_LR = 0.4


class Work(NamedTuple):
    """One outer step of MAML with the strided Conv4 of 64 filters, and as many queries as shots (Finn et al., 2017).

    Attributes:
        ways: Classes per task.
        shots: Support examples and queries per class.
        tasks: Tasks per outer step.
        steps: Inner gradient steps.
        first_order: Without second derivatives.
    """

    ways: int = 5
    shots: int = 1
    tasks: int = 32
    steps: int = 1
    first_order: bool = False

    @property
    def name(self) -> str:
        """For tables: 5w1s, 32 tasks, 1 step, second order."""
        order = "first order" if self.first_order else "second order"
        return f"{self.ways}w{self.shots}s, {self.tasks} tasks, {self.steps} step{'s'[: self.steps > 1]}, {order}"

    def data(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Support images ``[T, N*K, 1, 28, 28]`` and labels ``[T, N*K]``, then those of the queries."""
        rng = np.random.default_rng(0)
        size = (self.tasks, self.ways * self.shots)
        labels = np.tile(np.arange(self.ways), (self.tasks, self.shots))
        images = (rng.random((2, *size, 1, 28, 28)) < 0.1).astype(np.float32)
        return images[0], labels, images[1], labels


def tensors(work: Work) -> tuple[torch.Tensor, ...]:
    """The data of a work as tensors on the default device."""
    return tuple(torch.as_tensor(array, device=torch.get_default_device()) for array in work.data())


def plain_network(ways: int) -> nn.Sequential:
    """The network that the peers get: torch's own layers, which are faster in their loops than fewshot's."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for channels in (1, 64, 64, 64):
        layers += [
            nn.Conv2d(channels, 64, 3, 2, 1, bias=False),
            nn.BatchNorm2d(64, track_running_stats=False),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, ways))
