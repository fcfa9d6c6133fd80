"""An inner loop that descends with Adam."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fewshot.inner_loop.optimizers import InnerOptimizer, Weights


class Moments(NamedTuple):
    """What Adam remembers.

    Attributes:
        seen: How many steps it has seen.
        squares: Mean of the squared gradients of each weight tensor, ``[T, ...]`` after the first step.
    """

    seen: Tensor
    squares: list[Tensor]


class InnerAdam(InnerOptimizer):
    """Adam without momentum (β1 = 0), whose second moments go on from task to task.

    Each task starts from the moments that are kept, and :meth:`keep` keeps their mean over the tasks of a meta-batch.
    An evaluation starts from those that training left and keeps nothing.

    Kingma and Ba, 2015, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980; with β1 = 0 in
    Nichol, Achiam and Schulman, 2018, On First-Order Meta-Learning Algorithms, https://arxiv.org/abs/1803.02999.

    Args:
        inner_lr: Step size.
        adapted: The parameters that are adapted, by name.
        beta2: Decay of the second moments.
        eps: Added to their root.
    """

    count: Tensor

    def __init__(self, inner_lr: float, adapted: Mapping[str, Tensor], beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__()
        self.inner_lr, self.beta2, self.eps = inner_lr, beta2, eps
        self.names = list(adapted)
        self.register_buffer("count", torch.tensor(0))  # an integer in any precision
        for number, parameter in enumerate(adapted.values()):
            self.register_buffer(f"moment{number}", torch.zeros_like(parameter))

    @property
    def moments(self) -> list[Tensor]:
        """Mean of the squared gradients of each weight tensor, as kept."""
        return [buffer for name, buffer in self.named_buffers() if name != "count"]

    def start(self, weights: Weights) -> Moments:
        """The moments that are kept of these weights."""
        kept = dict(zip(self.names, self.moments))
        return Moments(self.count, [kept[name] for name in weights])

    def step(
        self, number: int, weights: Weights, gradients: Sequence[Tensor], state: Moments
    ) -> tuple[Weights, Moments]:
        """The weights ``[T, ...]`` and the moments after one step."""
        squares = [
            torch.lerp(gradient.square(), moment.expand_as(gradient), self.beta2)
            for moment, gradient in zip(state.squares, gradients)
        ]
        count = state.seen + 1
        # 1 - β2^n, without the cancellation, and in float32 at least.
        precision = torch.promote_types(squares[0].dtype, torch.float32)
        correction = -torch.expm1(count.to(precision) * math.log(self.beta2))
        stepped = {
            name: weight - self.inner_lr * gradient / ((moment / correction).sqrt() + self.eps)
            for (name, weight), moment, gradient in zip(weights.items(), squares, gradients)
        }
        return stepped, Moments(count, squares)

    def keep(self, state: Moments) -> None:
        """Keeps the mean over the tasks of the moments that a meta-batch has reached."""
        for kept, tasks in zip(self.moments, state.squares):
            kept.copy_(tasks.mean(0))
        self.count.copy_(state.seen)
