"""Inner step sizes: fixed, or learned together with the initial weights."""

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from fewshot.networks import PerStepBatchNorm

LearnInnerLR = Literal["none", "meta-sgd", "per-step"]

Weights = dict[str, Tensor]


class Descent(Protocol):
    """What an inner step does with a gradient."""

    def descend(self, step: int, weights: Weights, gradients: Sequence[Tensor]) -> Weights:
        """The weights ``[T, ...]`` after one step, given the gradients of each in its order."""


def adaptable(module: nn.Module) -> dict[str, nn.Parameter]:
    """What the inner loop adapts of a module: all of its parameters but those that exist once per inner step."""
    fixed = {id(p) for norm in module.modules() if isinstance(norm, PerStepBatchNorm) for p in norm.parameters()}
    return {name: parameter for name, parameter in module.named_parameters() if id(parameter) not in fixed}


class InnerRates(nn.Module):
    """The step sizes of the inner loop.

    * ``none``: one fixed number for all.
    * ``meta-sgd``: one learned rate per parameter element, the same at every step. Li et al., 2017, Meta-SGD: Learning
      to Learn Quickly for Few-Shot Learning, https://arxiv.org/abs/1707.09835. Deviation: all rates start at
      ``inner_lr``, where the paper draws them at random.
    * ``per-step``: one learned rate per inner step and weight tensor, as in Antoniou et al., 2019, How to Train Your
      MAML, https://arxiv.org/abs/1810.09502. Deviation: per weight tensor, not per layer.

    Args:
        learn: Which of the three.
        inner_lr: The fixed rate, or where the learned ones start.
        adapted: The module whose parameters are adapted; the rates follow the order of :func:`adaptable`.
        steps: Number of inner steps in training.
    """

    def __init__(self, learn: LearnInnerLR, inner_lr: float, adapted: nn.Module, steps: int) -> None:
        super().__init__()
        self.learn = learn
        self.inner_lr = inner_lr
        self.steps = steps
        parameters = adaptable(adapted)
        self.names = list(parameters)
        shapes = {
            "none": [],
            "meta-sgd": [parameter.shape for parameter in parameters.values()],
            "per-step": [torch.Size([steps])] * len(self.names),
        }[learn]
        self.values = nn.ParameterList(torch.full(shape, inner_lr) for shape in shapes)

    def at(self, step: int) -> Sequence[Tensor | float]:
        """The rate of each weight tensor at one step. Beyond the last step, per-step rates are those of the last."""
        if self.learn == "none":
            return [self.inner_lr] * len(self.names)
        if self.learn == "meta-sgd":
            return list(self.values)
        return [value[min(step, self.steps - 1)] for value in self.values]

    def descend(self, step: int, weights: Weights, gradients: Sequence[Tensor]) -> Weights:
        """A step down the gradients."""
        updates = zip(weights.items(), self.at(step), gradients)
        return {name: _down(weight, rate, gradient) for (name, weight), rate, gradient in updates}

    def named_scalars(self) -> dict[str, Tensor]:
        """The learned rates as scalars to plot: the mean over each weight tensor, or one per step."""
        if self.learn == "meta-sgd":
            return {name: value.detach().mean() for name, value in zip(self.names, self.values)}
        return {
            f"step{step}/{name}": rate
            for name, value in zip(self.names, self.values)
            for step, rate in enumerate(value.detach())
        }


def _down(weight: Tensor, rate: Tensor | float, gradient: Tensor) -> Tensor:
    """``weight - rate * gradient`` in one pass over the memory."""
    if isinstance(rate, Tensor):
        return torch.addcmul(weight, rate, gradient, value=-1)
    return torch.sub(weight, gradient, alpha=rate)
