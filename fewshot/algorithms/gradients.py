"""Where a gradient becomes a loss.

A learner that works its outer gradient out by itself, in chunks of tasks, from a recording or by a formula, hands it
over as a loss that has this gradient. Lightning's own optimisation does the rest: clipping, precision, checkpoints.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.func import functional_call


class OuterStep(NamedTuple):
    """What an outer step descends.

    Attributes:
        loss: A scalar whose gradient is the outer step.
        outputs: The outputs for the queries, ``[T, n, D]``: for scores, not for gradients.
    """

    loss: Tensor
    outputs: Tensor


class Gradient(NamedTuple):
    """The outer gradient of some tasks.

    Attributes:
        loss: The mean outer loss.
        outputs: Those for the queries, ``[T, n, D]``.
        gradients: Of the loss, or what stands in for it, in every parameter.
    """

    loss: Tensor
    outputs: Tensor
    gradients: list[Tensor]


def as_loss(parts: Iterable[Gradient], parameters: Sequence[Tensor], tasks: int) -> OuterStep:
    """The mean over all tasks, as a loss whose gradient in the parameters is that of the parts.

    Args:
        parts: One gradient per chunk of tasks; each is worked out when its turn comes, and given up before the next.
        parameters: Whose gradients the parts hold.
        tasks: How many tasks there are in all parts.
    """
    total = [torch.zeros_like(parameter) for parameter in parameters]
    losses, outputs = [], []
    for part in parts:
        share = len(part.outputs) / tasks
        torch._foreach_add_(total, part.gradients, alpha=share)
        losses.append(share * part.loss)
        outputs.append(part.outputs)
    return OuterStep(_WithGradient.apply(torch.stack(losses).sum(), total, *parameters), torch.cat(outputs))


class _WithGradient(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(scale * gradient for gradient in ctx.gradients)


class Method(nn.Module):
    """A module's method as a module: ``torch.func`` runs nothing else with other parameters."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module = module
        self.name = name

    def forward(self, *inputs: Any) -> Any:
        """Runs the method."""
        return getattr(self.module, self.name)(*inputs)

    def at(self, parameters: dict[str, Tensor], *inputs: Any) -> Any:
        """Runs the method with other parameters."""
        return functional_call(self, {f"module.{name}": value for name, value in parameters.items()}, inputs)
