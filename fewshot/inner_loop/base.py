"""The seam between a learner and the way its tasks are adapted."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from fewshot.episodes import Examples
from fewshot.errors import FewShotError
from fewshot.inner_loop.optimizers import InnerOptimizer, Weights
from fewshot.networks import BatchNormMode, Classifier, per_step_tables

Adapt = Literal["all", "head"] | list[str]
"""Which weights adapt: all, the head's, or those whose names start with one of some prefixes."""

Graph = Literal["second", "first", "none"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""From the outputs ``[n, D]`` of one task and its targets to a scalar."""


class Learners(Protocol):
    """T learners, each adapted to its own task."""

    @property
    def weights(self) -> Weights:
        """The adapted weights by name, ``[T, ...]`` each."""

    @property
    def state(self) -> Any:
        """What the inner optimiser remembers."""

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``[T, n, D]`` for inputs ``[T, n, ...]``, each learner on its own task."""


Draw = Callable[[int, Learners], Examples]
"""From the number of an inner step and the learners before it to the examples that it learns from."""


def adapted_parameters(network: Classifier, adapt: Adapt) -> dict[str, nn.Parameter]:
    """The parameters that the inner loop adapts, by name. Batch norm's tables per inner step are never among them.

    Raises:
        FewShotError: If there is no prefix, or one is that of no parameter.
    """
    tables = per_step_tables(network)
    adaptable = {name: parameter for name, parameter in network.named_parameters() if name not in tables}
    if adapt == "all":
        return adaptable
    prefixes = [prefix.rstrip(".") for prefix in (["head"] if adapt == "head" else adapt)]
    if not prefixes:
        raise FewShotError("adapt names no weights: give all, head, or a list of prefixes such as [head]")
    for prefix in prefixes:
        if not any(_starts(name, prefix) for name in adaptable):
            modules = sorted({name.rpartition(".")[0] for name in adaptable})
            raise FewShotError(f"adapt: no weight's name starts with {prefix!r}; there are {', '.join(modules)}")
    return {name: value for name, value in adaptable.items() if any(_starts(name, prefix) for prefix in prefixes)}


def _starts(name: str, prefix: str) -> bool:
    """Whether the first words of a name are those of the prefix."""
    return f"{name}.".startswith(f"{prefix}.")


class InnerLoop(ABC):
    """Adapts a network to each task of a meta-batch by gradient steps on the support set.

    Args:
        network: The network that every task starts from.
        optimizer: What a gradient does to the weights.
        loss: Inner loss of one task.
        adapt: Which weights are adapted.
        batch_norm: Whose statistics normalise the queries.
    """

    def __init__(
        self, network: Classifier, optimizer: InnerOptimizer, loss: Loss, *, adapt: Adapt, batch_norm: BatchNormMode
    ) -> None:
        self.network = network
        self.optimizer = optimizer
        self.loss = loss
        self.names = list(adapted_parameters(network, adapt))
        # If the head alone is adapted, the body runs once for all steps.
        self.body = network.features if all(_starts(name, "head") for name in self.names) else None
        self.learner: nn.Module = network.head if self.body else network
        self.prefix = "head." if self.body else ""
        self.inductive = batch_norm == "inductive"

    @abstractmethod
    def adapt(self, support: Examples, steps: int, *, graph: Graph, draw: Draw | None = None) -> Iterator[Learners]:
        """Yields the learners after 0, 1, ..., ``steps`` steps. Each is good until the next is asked for.

        Args:
            support: The support sets of T tasks.
            steps: Number of gradient steps.
            graph: What of the adaptation an outer gradient can see: everything (``second`` order), all but the second
                derivatives (``first`` order), or nothing (``none``, for evaluation: no graph is kept).
            draw: What each step learns from; the whole support set if not given. Gradients flow through what it gives
                as far as it is not detached.
        """

    def predict(
        self, body: Callable[..., Tensor] | None, learner: Callable[..., Tensor], support: Tensor, x: Tensor
    ) -> Tensor:
        """One task's learner on inputs ``x``, normalised by the statistics that the mode asks for."""
        normalising = body or learner
        if self.inductive:
            outputs = normalising(torch.cat([support, x]), len(support))[len(support) :]
        else:
            outputs = normalising(x)
        return learner(outputs) if body else outputs
