"""Reptile: moving towards the weights that each task leads to."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.optimizer import Optimizer

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.base import LRSchedulerCallable, Prediction, with_gradient
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.inner_loop import (
    BatchNormMode,
    Graph,
    InnerAdam,
    InnerRates,
    Learners,
    Rows,
    VectorizedInnerLoop,
)
from fewshot.networks import Embedding
from fewshot.objectives import LossName


class ReptileModule(AdaptingModule):
    """Reptile: adapts to each task and moves the initial weights a part of the way to the adapted ones, θ + ε (φ - θ).

    Nichol, Achiam and Schulman, 2018, On First-Order Meta-Learning Algorithms, https://arxiv.org/abs/1803.02999.
    Deviations: an inner step's minibatch takes the classes in turn, so that it holds as many of each as can be, where
    the original shuffles all examples, and its size is the same in tests, where the original has another; inductive
    predictions are normalised by the support set's statistics, the original's by those of the support set and the
    query together.

    Training uses the support set alone, usually of more shots than in a test; ``train/loss`` and ``train/accuracy`` are
    of the queries after adaptation, and are only for looking at.

    Args:
        network: The embedding network; a linear head goes on top of it.
        outputs: Outputs of the head: classes per task, N, or 1 for regression; the command line takes it from the data.
        inner_optimizer: ``adam``: without momentum (β1 = 0), its second moments going on from task to task, as in the
            original; or plain ``sgd``.
        inner_lr: Inner step size.
        inner_batch_size: Support examples per inner step; all of them if not given, or if there are fewer.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        tasks: ``batched``: all tasks of a meta-batch at once, from the same moments of Adam, whose mean is kept.
            ``serial``: one after another, each going on with the moments of the one before, as in the original code.
            With one task per outer step (the paper's serial version), or with ``sgd``, they are the same.
        batch_norm: Whose statistics normalise the queries in a test: their own, all queries of the task together
            (``transductive``), or the support set's (``inductive``).
        task_chunk_size: Adapt so many tasks at a time in an evaluation; all of the meta-batch if not given.
        loss: ``cross-entropy`` for classification, ``mse`` for regression.
        meta_lr: Outer step size ε, a share of the way: 0 to 1.
        lr_scheduler: Schedule of the outer step size, stepped once per outer step; if not given, it goes down to 0 in a
            straight line over the training, as in the paper.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm keeps running statistics.
    """

    def __init__(
        self,
        network: Embedding,
        outputs: int = 5,
        inner_optimizer: Literal["adam", "sgd"] = "adam",
        inner_lr: float = 1e-3,
        inner_batch_size: int | None = 10,
        adaptation_steps: int = 5,
        test_adaptation_steps: int | None = 50,
        tasks: Literal["batched", "serial"] = "batched",
        batch_norm: BatchNormMode = "transductive",
        task_chunk_size: int | None = None,
        loss: LossName = "cross-entropy",
        meta_lr: float = 1.0,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(
            network,
            outputs=outputs,
            inner_lr=inner_lr,
            adaptation_steps=adaptation_steps,
            test_adaptation_steps=test_adaptation_steps,
            batch_norm=batch_norm,
            task_chunk_size=task_chunk_size,
            loss=loss,
            meta_lr=meta_lr,
            lr_scheduler=lr_scheduler,
        )
        if adaptation_steps < 1:
            raise FewShotError("Reptile learns from its inner steps: adaptation_steps must be at least 1, not 0")
        if inner_batch_size is not None and inner_batch_size < 1:
            raise FewShotError(f"inner_batch_size must be at least 1, not {inner_batch_size}")
        if meta_lr > 1:
            raise FewShotError(f"meta_lr is the share of the way to the adapted weights, 0 to 1, not {meta_lr}")
        self.inner_batch_size = inner_batch_size
        self.serial = tasks == "serial"
        self.inner_optimizer = (
            InnerAdam(inner_lr, self.network)
            if inner_optimizer == "adam"
            else InnerRates("none", inner_lr, self.network, adaptation_steps)
        )
        self.inner_loop = VectorizedInnerLoop(
            self.network, self.inner_optimizer, self.loss, adapt="all", batch_norm=batch_norm
        )

    def adapt(self, support: Examples, steps: int, graph: Graph) -> Iterator[Learners]:
        """The learners after 0, 1, ..., ``steps`` steps, each on a minibatch of the support set."""
        return self.inner_loop.adapt(support, steps, graph=graph, rows=self.minibatches(support))

    def minibatches(self, support: Examples) -> Rows:
        """The support examples of each inner step: the classes in turn, round and round."""
        count = support.y.shape[1]
        size = min(self.inner_batch_size or count, count)
        ways = self.outputs if support.y.ndim == 2 else 1
        in_turn = torch.arange(count, device=support.y.device).view(ways, -1).t().flatten()
        places = torch.arange(size, device=support.y.device)
        return lambda step: in_turn[(step * size + places) % count]

    def forward(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries; there is nothing to differentiate."""
        return Prediction(self.adapted(episode.support, self.adaptation_steps, "none")(episode.query.x))

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """A value whose gradient is the way back from the adapted weights, and the outputs for the queries."""
        outputs, totals = [], [torch.zeros_like(parameter) for parameter in self.network.parameters()]
        for part in episode.split(1 if self.serial else None):
            learners = self.adapted(part.support, self.adaptation_steps, "none")
            if isinstance(self.inner_optimizer, InnerAdam):
                self.inner_optimizer.keep()
            torch._foreach_add_(totals, [weight.detach().sum(0) for weight in learners.weights.values()])
            outputs.append(learners(part.query.x))
        self._share_moments()
        parameters = list(self.network.parameters())
        back = [parameter.detach() - total / len(episode.query.y) for parameter, total in zip(parameters, totals)]
        predicted = torch.cat(outputs)
        return with_gradient(self.loss(predicted, episode.query.y), parameters, back), predicted

    def _share_moments(self) -> None:
        """Keeps the mean over all devices, each of which has seen its own tasks."""
        if isinstance(self.inner_optimizer, InnerAdam) and self._trainer is not None and self.trainer.world_size > 1:
            for moment in self.inner_optimizer.moments:
                moment.copy_(self.trainer.strategy.reduce(moment, reduce_op="mean"))

    def configure_optimizers(self) -> Any:
        """Steps of a share of the way; no Adam outside."""
        optimizer = torch.optim.SGD(self.network.parameters(), lr=self.meta_lr)
        return self.scheduled(optimizer, self.lr_scheduler or self._annealed)

    def _annealed(self, optimizer: Optimizer) -> LambdaLR:
        steps = self.trainer.max_steps
        if steps < 1:
            raise FewShotError(
                "Reptile's step size goes to 0 over the training: set max_steps, or give an lr_scheduler"
            )
        return LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))
