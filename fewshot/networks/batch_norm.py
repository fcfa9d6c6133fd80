"""Batch norm: whose statistics normalise, and scales and shifts of their own for each number of inner steps."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from fewshot.fast.layers import BatchNorm, batch_norm

BatchNormMode = Literal["transductive", "inductive", "running"]
"""Whose statistics normalise the queries: their own batch's, the support set's, or those of training."""


class PerStepBatchNorm(nn.Module):
    """Batch normalisation whose scale and shift are other ones after each number of inner steps.

    Antoniou, Edwards and Storkey, 2019, How to Train Your MAML, https://arxiv.org/abs/1810.09502, section 4. They are
    learned by the outer loop alone. Deviation: no running statistics per step. The authors' code keeps some and never
    normalises by them; here, too, statistics are of the batch at hand.

    Its weights are tables ``[steps + 1, C]``, of which whoever runs the network chooses a row by :func:`rows_of_step`;
    left alone it takes the first, of no steps.

    Args:
        norm: The batch norm that it stands in for; its scale and shift are where each starts.
        steps: Inner steps in training.
    """

    def __init__(self, norm: BatchNorm, steps: int) -> None:
        super().__init__()
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach().repeat(steps + 1, 1))
        self.bias = nn.Parameter(norm.bias.detach().repeat(steps + 1, 1))

    def forward(self, x: Tensor, support_size: int | None = None) -> Tensor:
        """Normalises ``x`` of shape ``[n, C, H, W]``."""
        weight, bias = (table[0] if table.ndim == 2 else table for table in (self.weight, self.bias))
        return batch_norm(x, weight, bias, self.eps, support_size)


def per_step(network: nn.Module, steps: int) -> int:
    """Gives every batch norm of a network scales and shifts per inner step, in place, and says how many there were."""
    count = 0
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, BatchNorm):
                setattr(module, name, PerStepBatchNorm(child, steps))
                count += 1
    return count


def per_step_tables(network: nn.Module) -> dict[str, nn.Parameter]:
    """The tables of scales and shifts per inner step, by the names of the network's parameters."""
    norms = {name: module for name, module in network.named_modules() if isinstance(module, PerStepBatchNorm)}
    return {f"{name}.{own}": table for name, norm in norms.items() for own, table in norm.named_parameters()}


def rows_of_step(tables: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
    """The scales and shifts after so many inner steps, for the tables' place; the last serve for more steps."""
    return {name: table[min(step, len(table) - 1)] for name, table in tables.items()}


def norms_of(network: nn.Module) -> list[nn.modules.batchnorm._NormBase]:
    """The batch norms of a network."""
    return [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._NormBase)]


def keeps_running_statistics(network: nn.Module) -> bool | None:
    """Whether any batch norm of a network keeps running statistics; ``None`` if it has no batch norm."""
    norms = norms_of(network)
    return any(norm.track_running_stats for norm in norms) if norms else None
