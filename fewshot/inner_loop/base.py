"""The seam between an algorithm and the way its tasks are adapted."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from fewshot.episodes import Examples
from fewshot.inner_loop.rates import Descent, Weights
from fewshot.networks import Classifier, PerStepBatchNorm

Adapt = Literal["all", "head"]
BatchNormMode = Literal["transductive", "inductive"]
Graph = Literal["second", "first", "none"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""From the outputs ``[n, D]`` of one task and its targets to a scalar."""

Rows = Callable[[int], Tensor]
"""From the number of an inner step to the support examples, by index, that it learns from."""


class Learners(Protocol):
    """T learners, each adapted to its own task."""

    @property
    def weights(self) -> Weights:
        """The adapted weights by name, ``[T, ...]`` each."""

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs ``[T, n, D]`` for inputs ``[T, n, ...]``, each learner on its own task."""


class InnerLoop(ABC):
    """Adapts a network to each task of a meta-batch by gradient steps on the support set.

    Args:
        network: The network that every task starts from.
        rates: What a gradient does to the weights.
        loss: Inner loss of one task.
        adapt: ``all`` layers, or the ``head`` alone.
        batch_norm: Whose statistics normalise the queries: their own (``transductive``), or the support set's
            (``inductive``).
    """

    def __init__(
        self, network: Classifier, rates: Descent, loss: Loss, *, adapt: Adapt, batch_norm: BatchNormMode
    ) -> None:
        self.network = network
        self.rates = rates
        self.loss = loss
        self.body = network.features if adapt == "head" else None  # if the head alone is adapted
        self.adapted: nn.Module = network.head if self.body else network
        self.inductive = batch_norm == "inductive"
        self.norms = [module for module in network.modules() if isinstance(module, PerStepBatchNorm)]

    @abstractmethod
    def adapt(self, support: Examples, steps: int, *, graph: Graph, rows: Rows | None = None) -> Iterator[Learners]:
        """Yields the learners after 0, 1, ..., ``steps`` steps. Each is good until the next is asked for.

        Args:
            support: The support sets of T tasks.
            steps: Number of gradient steps.
            graph: What of the adaptation an outer gradient can see: everything (``second`` order), all but the second
                derivatives (``first`` order), or nothing (``none``, for evaluation: no graph is kept).
            rows: Which support examples a step learns from; all of them if not given.
        """

    def inputs(self, support: Tensor) -> Tensor:
        """What the adapted module sees of a task's support set. A body that is not adapted runs once for all steps."""
        return self.body(support) if self.body else support

    def predict(self, learner: Callable[..., Tensor], support: Tensor, x: Tensor) -> Tensor:
        """One task's learner on inputs ``x``, normalised by the statistics that the mode asks for."""
        normalising = self.body or learner
        if self.inductive:
            both = normalising(torch.cat([support, x]), len(support))
            x = both[len(support) :]
        else:
            x = normalising(x)
        return learner(x) if self.body else x

    def at(self, step: int) -> None:
        """Lets batch norms that have weights per step know how many were taken."""
        for norm in self.norms:
            norm.step = step
