"""An inner loop that descends with Adam."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fewshot.inner_loop.rates import Weights, adaptable


class InnerAdam(nn.Module):
    """Adam without momentum (β1 = 0), whose second moments go on from task to task.

    Each task starts from the moments that are kept, and :meth:`keep` keeps their mean over the tasks of a meta-batch.
    An evaluation starts from those that training left and keeps nothing.

    Kingma and Ba, 2015, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980; with β1 = 0 in
    Nichol, Achiam and Schulman, 2018, On First-Order Meta-Learning Algorithms, https://arxiv.org/abs/1803.02999.

    Args:
        inner_lr: Step size.
        adapted: The module whose parameters are adapted.
        beta2: Decay of the second moments.
        eps: Added to their root.
    """

    count: Tensor

    def __init__(self, inner_lr: float, adapted: nn.Module, beta2: float = 0.999, eps: float = 1e-8) -> None:
        super().__init__()
        self.inner_lr, self.beta2, self.eps = inner_lr, beta2, eps
        self.register_buffer("count", torch.tensor(0))  # steps that the moments have seen; an integer in any precision
        for number, parameter in enumerate(adaptable(adapted).values()):
            self.register_buffer(f"moment{number}", torch.zeros_like(parameter))
        self._tasks: list[Tensor] = []
        self._steps = self.count

    @property
    def moments(self) -> list[Tensor]:
        """Mean of the squared gradients, of each weight tensor."""
        return [buffer for name, buffer in self.named_buffers() if name != "count"]

    def descend(self, step: int, weights: Weights, gradients: Sequence[Tensor]) -> Weights:
        """The weights ``[T, ...]`` after one step."""
        if step == 0:
            self._tasks, self._steps = self.moments, self.count
        self._tasks = [
            torch.lerp(gradient.square(), moment.expand_as(gradient), self.beta2)
            for moment, gradient in zip(self._tasks, gradients)
        ]
        self._steps = self._steps + 1
        # 1 - β2^n, without the cancellation, and in float32 at least.
        precision = torch.promote_types(self._tasks[0].dtype, torch.float32)
        correction = -torch.expm1(self._steps.to(precision) * math.log(self.beta2))
        return {
            name: weight - self.inner_lr * gradient / ((moment / correction).sqrt() + self.eps)
            for (name, weight), moment, gradient in zip(weights.items(), self._tasks, gradients)
        }

    def keep(self) -> None:
        """Keeps the moments of the steps since the last first one."""
        for kept, tasks in zip(self.moments, self._tasks):
            kept.copy_(tasks.mean(0))
        self.count.copy_(self._steps)
