"""Reptile: moving towards the weights that each task leads to."""

from typing import Any, Literal

import torch

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.gradients import Gradient, OuterStep, as_loss
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError, at_least_one
from fewshot.inner_loop import Draw, InnerAdam, InnerSGD
from fewshot.networks import Embedding
from fewshot.schedules import LRSchedulerCallable, OptimizerCallable, ScheduleName


class ReptileModule(AdaptingModule):
    """Reptile: adapts to each task and moves the initial weights a part of the way to the adapted ones, θ + ε (φ - θ).

    Nichol, Achiam and Schulman, 2018, On First-Order Meta-Learning Algorithms, https://arxiv.org/abs/1803.02999.
    Deviations: an inner step's minibatch takes the classes in turn, so that it holds as many of each as can be, where
    the original shuffles all examples, and its size is the same in tests, where the original has another; inductive
    predictions are normalised by the support set's statistics, the original's by those of the support set and the
    query together.

    Training uses the support set alone, usually of more shots than in a test; ``train/loss`` and ``train/accuracy`` are
    of the queries after adaptation, and are only for looking at. ``task_chunk_size`` is for evaluations alone.

    Args:
        network: The embedding network; a linear head goes on top of it.
        inner_optimizer: ``adam``: without momentum (β1 = 0), its second moments going on from task to task, as in the
            original; or plain ``sgd``.
        inner_lr: Inner step size.
        inner_batch_size: Support examples per inner step; all of them if not given, or if there are fewer.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        tasks: ``batched``: all tasks of a meta-batch at once, from the same moments of Adam, whose mean is kept.
            ``serial``: one after another, each going on with the moments of the one before, as in the original code.
            With one task per outer step (the paper's serial version), or with ``sgd``, they are the same.
        meta_lr: Outer step size ε, a share of the way: 0 to 1.
        optimizer: Outer optimiser; plain gradient steps if not given, as in the paper.
        lr_scheduler: How the outer step size goes on; see ``MAMLModule``. Down to 0 in a straight line over the
            training if not given, as in the paper.
        **shared: The options of every learner that adapts.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm is of the other kind.
    """

    def __init__(
        self,
        network: Embedding,
        inner_optimizer: Literal["adam", "sgd"] = "adam",
        inner_lr: float = 1e-3,
        inner_batch_size: int | None = 10,
        adaptation_steps: int = 5,
        test_adaptation_steps: int | None = 50,
        tasks: Literal["batched", "serial"] = "batched",
        meta_lr: float = 1.0,
        optimizer: OptimizerCallable = torch.optim.SGD,
        lr_scheduler: ScheduleName | LRSchedulerCallable = "linear",
        **shared: Any,
    ) -> None:
        super().__init__(
            network,
            inner_lr=inner_lr,
            adaptation_steps=adaptation_steps,
            test_adaptation_steps=test_adaptation_steps,
            adapt="all",
            meta_lr=meta_lr,
            optimizer=optimizer,
            lr_scheduler=lr_scheduler,
            **shared,
        )
        if adaptation_steps < 1:
            raise FewShotError("Reptile learns from its inner steps: adaptation_steps must be at least 1, not 0")
        if inner_batch_size is not None:
            at_least_one(inner_batch_size=inner_batch_size)
        if meta_lr > 1:
            raise FewShotError(f"meta_lr is the share of the way to the adapted weights, 0 to 1, not {meta_lr}")
        self.inner_batch_size = inner_batch_size
        self.serial = tasks == "serial"
        kind = InnerAdam if inner_optimizer == "adam" else InnerSGD
        self.inner_optimizer: InnerAdam | InnerSGD = kind(inner_lr, self.adapted_parameters())
        self.inner_loop = self.make_loop(self.inner_optimizer)

    def setup(self, stage: str) -> None:
        """Refuses a precision in which Adam's moments stand still.

        Raises:
            FewShotError: If the weights are in bfloat16.
        """
        super().setup(stage)
        if isinstance(self.inner_optimizer, InnerAdam) and str(self.trainer.precision) == "bf16-true":
            raise FewShotError(
                "Adam's second moments change by a thousandth a step, which bfloat16 rounds away: use "
                "--trainer.precision bf16-mixed, or --model.inner_optimizer sgd"
            )

    def draw(self, support: Examples) -> Draw:
        """The minibatch of each inner step: the classes in turn, round and round."""
        count = support.y.shape[1]
        size = min(self.inner_batch_size or count, count)
        places = torch.arange(size, device=support.y.device)
        labels = support.y[0] if support.y.ndim == 2 else support.y.new_zeros(count)  # in regression there are none
        before = (labels == labels[:, None]).tril(-1).sum(1)  # examples of the same class
        in_turn = (before * (labels.max() + 1) + labels).argsort()

        def minibatch(step: int, *_: Any) -> Examples:
            some = in_turn[(step * size + places) % count]
            return Examples(support.x[:, some], support.y[:, some])

        return minibatch

    def outer_loss(self, episode: Episode) -> OuterStep:
        """A value whose gradient is the way back from the adapted weights: learned from the support sets alone."""
        outputs, totals = [], [torch.zeros_like(parameter) for parameter in self.network.parameters()]
        for part in episode.chunks(1 if self.serial else None):
            learners = self.adapted(part.support, self.adaptation_steps, "none")
            if isinstance(self.inner_optimizer, InnerAdam):
                self.inner_optimizer.keep(learners.state)
            torch._foreach_add_(totals, [weight.detach().sum(0) for weight in learners.weights.values()])
            outputs.append(learners(part.query.x))
        self._share_moments()
        parameters, tasks = list(self.network.parameters()), len(episode.query.y)
        back = [parameter.detach() - total / tasks for parameter, total in zip(parameters, totals)]
        predicted = torch.cat(outputs)
        return as_loss([Gradient(self.loss(predicted, episode.query.y), predicted, back)], parameters, tasks)

    def _share_moments(self) -> None:
        """Keeps the mean over all devices, each of which has seen its own tasks."""
        if isinstance(self.inner_optimizer, InnerAdam) and self._trainer is not None and self.trainer.world_size > 1:
            for moment in self.inner_optimizer.moments:
                moment.copy_(self.trainer.strategy.reduce(moment, reduce_op="mean"))
