"""Inner optimisers: what a gradient does to the weights of a task. Gradient descent, at fixed or at learned rates."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

LearnInnerLR = Literal["none", "meta-sgd", "per-step"]

Weights = dict[str, Tensor]
"""Adapted weights by the names of the network's parameters, ``[T, ...]`` each."""


class InnerOptimizer(nn.Module):
    """What an inner step does with a gradient.

    What changes from step to step is a state that goes from one call to the next; a module keeps only what is learned.
    """

    def start(self, weights: Weights) -> Any:
        """The state before the first step, from the weights that all tasks start from."""
        return None

    @abstractmethod
    def step(self, number: int, weights: Weights, gradients: Sequence[Tensor], state: Any) -> tuple[Weights, Any]:
        """The weights and the state after step ``number`` (from 0), given the gradients in the weights' order."""


class InnerSGD(InnerOptimizer):
    """Gradient descent.

    * ``none``: one fixed rate for all.
    * ``meta-sgd``: one learned rate per parameter element, the same at every step. Li et al., 2017, Meta-SGD: Learning
      to Learn Quickly for Few-Shot Learning, https://arxiv.org/abs/1707.09835. Deviation: all rates start at
      ``inner_lr``, where the paper draws them at random.
    * ``per-step``: one learned rate per inner step and weight tensor, as in Antoniou et al., 2019, How to Train Your
      MAML, https://arxiv.org/abs/1810.09502. Deviation: per weight tensor, not per layer.

    Args:
        inner_lr: The fixed rate, or where the learned ones start.
        adapted: The parameters that are adapted, by name.
        learn: Which of the three.
        steps: Number of inner steps in training.
    """

    def __init__(
        self, inner_lr: float, adapted: Mapping[str, Tensor], learn: LearnInnerLR = "none", steps: int = 1
    ) -> None:
        super().__init__()
        self.inner_lr = inner_lr
        self.learn = learn
        self.steps = steps
        self.names = list(adapted)
        shapes = {
            "none": [],
            "meta-sgd": [parameter.shape for parameter in adapted.values()],
            "per-step": [torch.Size([steps])] * len(adapted),
        }[learn]
        self.rates = nn.ParameterList(torch.full(shape, inner_lr) for shape in shapes)

    def at(self, number: int) -> Sequence[Tensor | float]:
        """The rate of each weight tensor at one step. Beyond the last step, per-step rates are those of the last."""
        if self.learn == "none":
            return [self.inner_lr] * len(self.names)
        if self.learn == "meta-sgd":
            return list(self.rates)
        return [rates[min(number, self.steps - 1)] for rates in self.rates]

    def step(self, number: int, weights: Weights, gradients: Sequence[Tensor], state: Any) -> tuple[Weights, Any]:
        """A step down the gradients, each at the rate of its weight's name: there may be fewer than are learned."""
        rates = dict(zip(self.names, self.at(number)))
        updates = zip(weights.items(), gradients)
        return {name: _down(weight, rates[name], gradient) for (name, weight), gradient in updates}, state

    def named_scalars(self) -> dict[str, Tensor]:
        """The learned rates as scalars to plot: the mean over each weight tensor, or one per step."""
        if self.learn == "meta-sgd":
            return {name: rates.detach().mean() for name, rates in zip(self.names, self.rates)}
        return {
            f"step{number}/{name}": rate
            for name, rates in zip(self.names, self.rates)
            for number, rate in enumerate(rates.detach())
        }


def _down(weight: Tensor, rate: Tensor | float, gradient: Tensor) -> Tensor:
    """``weight - rate * gradient`` in one pass over the memory."""
    if isinstance(rate, Tensor):
        return torch.addcmul(weight, rate, gradient, value=-1)
    return torch.sub(weight, gradient, alpha=rate)
