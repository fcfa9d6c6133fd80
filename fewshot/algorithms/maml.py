"""Model-agnostic meta-learning, with its first-order, head-only and learned-rate variants, and MAML++."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.gradients import Gradient, Method, OuterStep, as_loss
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.fast.recording import Recording
from fewshot.inner_loop import Graph, InnerLoop, InnerSGD, LearnInnerLR, SequentialInnerLoop, VectorizedInnerLoop
from fewshot.networks import Embedding, per_step

INNER_LOOPS: dict[str, type[InnerLoop]] = {"vectorized": VectorizedInnerLoop, "sequential": SequentialInnerLoop}


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
        inner_lr: Inner step size α: fixed, or where the learned ones start.
        first_order: Drop the second derivatives (first-order MAML, FOMAML).
        first_order_steps: So many outer steps in first order before the second derivatives are taken.
        learn_inner_lr: ``none``: α is fixed. ``meta-sgd``: learn one rate per parameter element. ``per-step``: learn
            one rate per inner step and weight tensor; steps beyond the trained ones reuse the last step's rates.
        multi_step_loss_steps: For so many outer steps the outer loss is a weighted sum of the losses after every inner
            step: first all weigh the same, then the last more and more (never below 3 % of its first weight any
            other). 0: the loss after the last step alone; ``always``: all weigh the same to the end. Deviation:
            annealed every outer step, not every epoch.
        per_step_batch_norm: Learn other scales and shifts of batch norm for each number of inner steps taken; the inner
            loop then adapts neither. Deviation: they are normalised by the statistics of the batch at hand.
        inner_loop: How a meta-batch is adapted: all tasks at once (``vectorized``), or task after task by learn2learn's
            own loop (``sequential``, the reference). Results and checkpoints are the same.
        record: Record the operations of an outer step once, which takes seconds for each shape of a meta-batch, and
            replay them without the overhead of Python and autograd. For ``vectorized``, and for networks whose
            operations do not depend on the numbers in them, as those of fewshot.
        **shared: The options of every learner that adapts.

    Raises:
        FewShotError: If a number is out of range, or options exclude one another.
    """

    inner_optimizer: InnerSGD

    def __init__(
        self,
        network: Embedding,
        inner_lr: float = 0.4,
        first_order: bool = False,
        first_order_steps: int = 0,
        learn_inner_lr: LearnInnerLR = "none",
        multi_step_loss_steps: int | Literal["always"] = 0,
        per_step_batch_norm: bool = False,
        inner_loop: Literal["vectorized", "sequential"] = "vectorized",
        record: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(network, inner_lr=inner_lr, **shared)
        if self.adaptation_steps < 1 and (learn_inner_lr == "per-step" or multi_step_loss_steps):
            raise FewShotError("adaptation_steps must be at least 1 for per-step rates and the multi-step loss, not 0")
        if first_order_steps < 0 or (multi_step_loss_steps != "always" and multi_step_loss_steps < 0):
            raise FewShotError("first_order_steps and multi_step_loss_steps must not be negative")
        for option, value in {"record": record, "per_step_batch_norm": per_step_batch_norm}.items():
            if value and inner_loop != "vectorized":
                raise FewShotError(
                    f"{option} needs inner_loop vectorized, not {inner_loop}: set --model.{option} false"
                )
        if per_step_batch_norm and self.batch_norm == "running":
            raise FewShotError(
                "per_step_batch_norm normalises by the batch at hand, not by running statistics: --model.batch_norm "
                "transductive or inductive"
            )
        if per_step_batch_norm and not per_step(self.network, self.adaptation_steps):
            raise FewShotError(
                "per_step_batch_norm needs fewshot's BatchNorm in the network, as in Conv4: set it to false"
            )
        self.first_order, self.first_order_steps = first_order, first_order_steps
        self.multi_step_loss_steps = multi_step_loss_steps
        self.inner_optimizer = InnerSGD(inner_lr, self.adapted_parameters(), learn_inner_lr, self.adaptation_steps)
        self.inner_loop = self.make_loop(self.inner_optimizer, INNER_LOOPS[inner_loop])
        self.recording = Recording(self._differentiated) if record else None

    def setup(self, stage: str) -> None:
        """Refuses what cannot work, and tells which rates are reused."""
        super().setup(stage)
        if self.inner_optimizer.learn == "per-step" and self.test_adaptation_steps > self.adaptation_steps:
            rank_zero_info(
                f"Tests take {self.test_adaptation_steps} inner steps, those after step "
                f"{self.adaptation_steps} with the rates learned for it."
            )

    def on_train_start(self) -> None:
        """Refuses to look for anomalies in what is recorded.

        Raises:
            FewShotError: If both are asked for.
        """
        if self.recording is not None and torch.is_anomaly_enabled():
            raise FewShotError(
                "--trainer.detect_anomaly looks into autograd, which a recording does without: --model.record false"
            )

    @property
    def order(self) -> Graph:
        """Whether this outer step takes second derivatives."""
        return "first" if self.first_order or self.global_step < self.first_order_steps else "second"

    def importance(self) -> Tensor | None:
        """Weights of the losses after 1, ..., S inner steps in this outer step, ``[S]``; ``None``: the last alone."""
        steps, until = self.adaptation_steps, self.multi_step_loss_steps
        if until != "always" and self.global_step >= until:
            return None
        progress = 0.0 if until == "always" else self.global_step / until
        first = max(1 - progress, 0.03) / steps
        weights = [first] * (steps - 1) + [1 - first * (steps - 1)]
        return next(self.parameters()).new_tensor(weights)

    def query_loss(self, episode: Episode, importance: Tensor | None = None) -> OuterStep:
        """Adapts to each task and judges its queries: the loss of MAML, differentiable in all that is learned.

        Args:
            episode: The tasks.
            importance: Weights of the losses after each inner step; the last alone if not given.
        """
        x, y = episode.query
        if importance is None:
            outputs = self.adapted(episode.support, self.adaptation_steps, self.order)(x)
            return OuterStep(self.loss(outputs, y), outputs)
        after_steps = islice(self.adapt(episode.support, self.adaptation_steps, self.order), 1, None)
        every_output = [learners(x) for learners in after_steps]
        losses = torch.stack([self.loss(outputs, y) for outputs in every_output])
        return OuterStep((importance * losses).sum(), every_output[-1])

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss of the queries after adaptation, chunk after chunk of tasks, recorded and replayed if wanted."""
        importance = self.importance()
        weights = [] if importance is None else [importance]
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        run = self.recording or self._differentiated

        def gradient(chunk: Episode) -> Gradient:
            loss, outputs, *gradients = run(parameters, [*chunk.support, *chunk.query, *weights], self.order)
            return Gradient(loss, outputs, gradients)

        return as_loss(map(gradient, self.chunks(episode)), parameters, tasks=len(episode.query.y))

    def _differentiated(self, parameters: Sequence[Tensor], inputs: Sequence[Tensor], *_: Any) -> list[Tensor]:
        """Loss, outputs and gradients of :meth:`query_loss` as a function of tensors alone.

        Args:
            parameters: Those that are learned.
            inputs: Support and query examples, and the weights of the losses after each step if there are any.
            *_: What a recording tells programs apart by.
        """
        support_x, support_y, query_x, query_y, *importance = inputs
        episode = Episode(Examples(support_x, support_y), Examples(query_x, query_y))
        names = [name for name, value in self.named_parameters() if value.requires_grad]
        with torch.enable_grad():
            parameters = [parameter.detach().requires_grad_() for parameter in parameters]
            loss, outputs = Method(self, "query_loss").at(dict(zip(names, parameters)), episode, *importance)
            gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return [loss.detach(), outputs.detach(), *gradients]
