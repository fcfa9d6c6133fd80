"""How many tasks to adapt at once: as many as the caches and the allocator like."""

from copy import deepcopy

import torch
from torch import Tensor, nn

LARGEST = 24 * 2**20
"""Bytes of the largest activation of a chunk, on a CPU. Measured over the rows of benchmarks/README.md: up to here more
tasks at once are faster, as they share the work around the operations; beyond, memory decides, and fewer are."""


def tasks_at_once(tasks: int, bytes_each: int) -> int:
    """How many tasks of a meta-batch to adapt at once: equal parts, where that is above half of what is possible.

    Args:
        tasks: In the meta-batch.
        bytes_each: Bytes of the largest activation of one task.
    """
    most = max(1, LARGEST // bytes_each)
    if most >= tasks:
        return tasks
    even = max(number for number in range(1, most + 1) if tasks % number == 0)
    return even if 2 * even > most else most


def largest_activation(network: nn.Module, examples: Tensor) -> int:
    """Bytes per example of the largest output of any layer, found by running a copy of the network on a few."""
    copy, sizes = deepcopy(network).eval(), [1]

    def look(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor):
            sizes.append(output.nbytes // len(examples))

    for module in copy.modules():
        module.register_forward_hook(look)
    with torch.no_grad():
        copy(examples)
    return max(sizes)
