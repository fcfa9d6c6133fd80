"""Model-agnostic meta-learning, with its first-order, head-only and learned-rate variants, and MAML++."""

from collections.abc import Sequence
from itertools import islice
from typing import Literal

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.func import functional_call

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.base import LRSchedulerCallable, Prediction, with_gradient
from fewshot.algorithms.recorded import Outer, Recorded
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.inner_loop import (
    Adapt,
    BatchNormMode,
    Graph,
    InnerRates,
    LearnInnerLR,
    SequentialInnerLoop,
    VectorizedInnerLoop,
)
from fewshot.networks import Embedding, per_step
from fewshot.objectives import LossName

INNER_LOOPS = {"vectorized": VectorizedInnerLoop, "sequential": SequentialInnerLoop}


class MAMLModule(AdaptingModule):
    """MAML: learns initial weights from which a few gradient steps on the support set solve a new task.

    Finn, Abbeel and Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks,
    https://arxiv.org/abs/1703.03400. Deviations: batch norm's scale and shift are adapted with the other weights; the
    original adapts neither and has no scale.

    The loss is the mean over examples, inside and outside. What an inner learning rate means depends on
    it: a loss summed over N classes has N times the gradient, and so wants an inner learning rate N times smaller.

    MAML++ (Antoniou, Edwards and Storkey, 2019, How to Train Your MAML, https://arxiv.org/abs/1810.09502) is
    ``learn_inner_lr: per-step``, ``multi_step_loss_steps``, ``first_order_steps``, ``per_step_batch_norm`` and a
    cosine ``lr_scheduler``, each on its own or together.

    Args:
        network: The embedding network; a linear head goes on top of it.
        outputs: Outputs of the head: classes per task, N, or 1 for regression; the command line takes it from the data.
        inner_lr: Inner step size α: fixed, or where the learned ones start.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        first_order: Drop the second derivatives (first-order MAML, FOMAML).
        first_order_steps: So many outer steps in first order before the second derivatives are taken.
        learn_inner_lr: ``none``: α is fixed. ``meta-sgd``: learn one rate per parameter element. ``per-step``: learn
            one rate per inner step and weight tensor; steps beyond the trained ones reuse the last step's rates.
        multi_step_loss_steps: For so many outer steps the outer loss is a weighted sum of the losses after every inner
            step: first all weigh the same, then the last more and more (never below 3 % of its first weight any
            other). 0: the loss after the last step alone. Deviation: annealed every outer step, not every epoch.
        adapt: ``all`` layers, or the ``head`` alone (ANIL; Raghu et al., 2020, Rapid Learning or Feature Reuse?,
            https://arxiv.org/abs/1909.09157).
        batch_norm: Whose statistics normalise the queries: their own, all queries of the task together
            (``transductive``, as in the paper), or the support set's (``inductive``).
        per_step_batch_norm: Learn other scales and shifts of batch norm for each number of inner steps taken; the inner
            loop then adapts neither. Deviation: they are normalised by the statistics of the batch at hand.
        inner_loop: How a meta-batch is adapted: all tasks at once (``vectorized``), or task after task by learn2learn's
            own loop (``sequential``, the reference). Results and checkpoints are the same.
        task_chunk_size: Adapt so many tasks at a time, to need less memory; all of the meta-batch if not given. Results
            are the same.
        compile: Record the operations of an outer step once, which takes seconds for each shape of a meta-batch, and
            replay them without the overhead of Python and autograd. For ``vectorized``, and for networks whose
            operations do not depend on the numbers in them, as those of fewshot.
        loss: ``cross-entropy`` for classification, ``mse`` for regression.
        meta_lr: Outer step size β of Adam.
        lr_scheduler: Schedule of the outer step size, stepped once per outer step; constant if not given.

    Raises:
        FewShotError: If a number is out of range, options exclude one another, or the network's batch norm keeps
            running statistics.
    """

    def __init__(
        self,
        network: Embedding,
        outputs: int = 5,
        inner_lr: float = 0.4,
        adaptation_steps: int = 1,
        test_adaptation_steps: int | None = None,
        first_order: bool = False,
        first_order_steps: int = 0,
        learn_inner_lr: LearnInnerLR = "none",
        multi_step_loss_steps: int = 0,
        adapt: Adapt = "all",
        batch_norm: BatchNormMode = "transductive",
        per_step_batch_norm: bool = False,
        inner_loop: Literal["vectorized", "sequential"] = "vectorized",
        task_chunk_size: int | None = None,
        compile: bool = False,
        loss: LossName = "cross-entropy",
        meta_lr: float = 1e-3,
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
        if adaptation_steps < 1 and (learn_inner_lr == "per-step" or multi_step_loss_steps):
            raise FewShotError("adaptation_steps must be at least 1 for per-step rates and the multi-step loss, not 0")
        if min(first_order_steps, multi_step_loss_steps) < 0:
            raise FewShotError("first_order_steps and multi_step_loss_steps must not be negative")
        for option, value in {"compile": compile, "per_step_batch_norm": per_step_batch_norm}.items():
            if value and inner_loop != "vectorized":
                raise FewShotError(
                    f"{option} needs inner_loop vectorized, not {inner_loop}: set --model.{option} false"
                )
        if per_step_batch_norm and not per_step(self.network, adaptation_steps):
            raise FewShotError(
                "per_step_batch_norm needs fewshot's BatchNorm in the network, as in Conv4: set it to false"
            )
        self.first_order, self.first_order_steps = first_order, first_order_steps
        self.multi_step_loss_steps = multi_step_loss_steps
        self.recorded = Recorded(self.outer) if compile else None
        adapted = self.network.head if adapt == "head" else self.network
        self.inner_rates = InnerRates(learn_inner_lr, inner_lr, adapted, adaptation_steps)
        self.inner_loop = INNER_LOOPS[inner_loop](
            self.network, self.inner_rates, self.loss, adapt=adapt, batch_norm=batch_norm
        )

    def setup(self, stage: str) -> None:
        """Refuses what cannot work, and tells which rates are reused."""
        super().setup(stage)
        if self.inner_rates.learn == "per-step" and self.test_adaptation_steps > self.adaptation_steps:
            rank_zero_info(
                f"Evaluating with {self.test_adaptation_steps} steps, but rates were learned for "
                f"{self.adaptation_steps}: the later steps reuse the rates of the last."
            )

    @property
    def order(self) -> Graph:
        """Whether this outer step takes second derivatives."""
        return "first" if self.first_order or self.global_step < self.first_order_steps else "second"

    def importance(self) -> Tensor | None:
        """Weights of the losses after 1, ..., S inner steps in this outer step, ``[S]``; ``None``: the last alone."""
        if self.global_step >= self.multi_step_loss_steps:
            return None
        steps, progress = self.adaptation_steps, self.global_step / self.multi_step_loss_steps
        first = max(1 - progress, 0.03) / steps
        weights = [first] * (steps - 1) + [1 - first * (steps - 1)]
        return next(self.parameters()).new_tensor(weights)

    def forward(self, episode: Episode, every_step: bool = False) -> Prediction:
        """Adapts to each task and predicts its queries, differentiably in the initial weights and learned rates.

        Args:
            episode: The tasks.
            every_step: Give the outputs after each inner step, ``[S, T, n, D]``, not only after the last.
        """
        if every_step:
            adaptation = self.adapt(episode.support, self.adaptation_steps, self.order)
            return Prediction(torch.stack([learners(episode.query.x) for learners in islice(adaptation, 1, None)]))
        return Prediction(self.adapted(episode.support, self.adaptation_steps, self.order)(episode.query.x))

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """The loss to descend and the outputs. Chunks of tasks give up their graphs for their gradients one by one."""
        importance = self.importance()
        chunks = episode.split(self.task_chunk_size)
        if len(chunks) == 1 and self.recorded is None:
            outputs = self(episode, importance is not None).outputs
            return self._weighted(outputs, episode.query.y, importance)
        weights = [] if importance is None else [importance]
        parameters: list[Tensor] = list(self.parameters())
        total = [torch.zeros_like(parameter) for parameter in parameters]
        losses, parts = [], []
        for chunk in chunks:
            inputs = [*chunk.support, *chunk.query, *weights]
            part = self.recorded(parameters, inputs, self.order) if self.recorded else self.outer(parameters, inputs)
            share = len(part.outputs) / len(episode.query.y)
            torch._foreach_add_(total, part.gradients, alpha=share)
            losses.append(share * part.loss)
            parts.append(part.outputs)
        return with_gradient(torch.stack(losses).sum(), parameters, total), torch.cat(parts)

    def outer(self, parameters: Sequence[Tensor], inputs: Sequence[Tensor]) -> Outer:
        """Loss, outputs and gradients at the given parameters, in the order of ``parameters()``.

        Args:
            parameters: The learner's.
            inputs: Support and query examples, and the weights of the losses after each step if there are any.
        """
        support_x, support_y, query_x, query_y, *importance = inputs
        episode = Episode(Examples(support_x, support_y), Examples(query_x, query_y))
        with torch.enable_grad():
            parameters = [parameter.detach().requires_grad_() for parameter in parameters]
            named = dict(zip(dict(self.named_parameters()), parameters))
            outputs = functional_call(self, named, (episode, bool(importance))).outputs
            loss, outputs = self._weighted(outputs, query_y, *importance)
            gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return Outer(loss.detach(), outputs.detach(), list(gradients))

    def _weighted(self, outputs: Tensor, targets: Tensor, importance: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The outer loss, and the outputs after the last inner step."""
        if importance is None:
            return self.loss(outputs, targets), outputs
        losses = torch.stack([self.loss(after_step, targets) for after_step in outputs])
        return (importance * losses).sum(), outputs[-1]
