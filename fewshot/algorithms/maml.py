"""Model-agnostic meta-learning, with its first-order, head-only and learned-rate variants."""

from typing import Any, Literal

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.func import functional_call

from fewshot.algorithms.base import EpisodicModule, LRSchedulerCallable, Prediction, with_gradient
from fewshot.algorithms.recorded import Outer, Recorded
from fewshot.episodes import Episode
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
from fewshot.networks import Classifier, Embedding, keeps_running_statistics

INNER_LOOPS = {"vectorized": VectorizedInnerLoop, "sequential": SequentialInnerLoop}


class MAMLModule(EpisodicModule):
    """MAML: learns initial weights from which a few gradient steps on the support set solve a new task.

    Finn, Abbeel and Levine, 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks,
    https://arxiv.org/abs/1703.03400. Deviations: batch norm's scale and shift are adapted with the other weights; the
    original adapts neither and has no scale.

    The loss is the mean cross-entropy over examples, inside and outside. What an inner learning rate means depends on
    it: a loss summed over N classes has N times the gradient, and so wants an inner learning rate N times smaller.

    Args:
        network: The embedding network; a linear head with one output per class goes on top of it.
        ways: Classes per task, N; the command line takes it from the data.
        inner_lr: Inner step size α: fixed, or where the learned ones start.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        first_order: Drop the second derivatives (first-order MAML, FOMAML).
        learn_inner_lr: ``none``: α is fixed. ``meta-sgd``: learn one rate per parameter element. ``per-step``: learn
            one rate per inner step and weight tensor; steps beyond the trained ones reuse the last step's rates.
        adapt: ``all`` layers, or the ``head`` alone (ANIL; Raghu et al., 2020, Rapid Learning or Feature Reuse?,
            https://arxiv.org/abs/1909.09157).
        batch_norm: Whose statistics normalise the queries: their own, all queries of the task together
            (``transductive``, as in the paper), or the support set's (``inductive``).
        inner_loop: How a meta-batch is adapted: all tasks at once (``vectorized``), or task after task by learn2learn's
            own loop (``sequential``, the reference). Results and checkpoints are the same.
        task_chunk_size: Adapt so many tasks at a time, to need less memory; all of the meta-batch if not given. Results
            are the same.
        compile: Record the operations of an outer step once, which takes seconds for each shape of a meta-batch, and
            replay them without the overhead of Python and autograd. For ``vectorized``, and for networks whose
            operations do not depend on the numbers in them, as those of fewshot.
        meta_lr: Outer step size β of Adam.
        lr_scheduler: Schedule of the outer step size, stepped once per outer step; constant if not given.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm keeps running statistics.
    """

    def __init__(
        self,
        network: Embedding,
        ways: int = 5,
        inner_lr: float = 0.4,
        adaptation_steps: int = 1,
        test_adaptation_steps: int | None = None,
        first_order: bool = False,
        learn_inner_lr: LearnInnerLR = "none",
        adapt: Adapt = "all",
        batch_norm: BatchNormMode = "transductive",
        inner_loop: Literal["vectorized", "sequential"] = "vectorized",
        task_chunk_size: int | None = None,
        compile: bool = False,
        meta_lr: float = 1e-3,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(meta_lr, lr_scheduler)
        if test_adaptation_steps is None:
            test_adaptation_steps = adaptation_steps
        if min(adaptation_steps, test_adaptation_steps) < 0 or (learn_inner_lr == "per-step" and adaptation_steps < 1):
            raise FewShotError(
                f"adaptation_steps must not be negative, nor 0 with per-step rates: "
                f"got {adaptation_steps} in training and {test_adaptation_steps} in test"
            )
        if keeps_running_statistics(network):
            raise FewShotError(
                "MAML needs batch norm without running statistics, which its clones would share and change even in a "
                "test: --model.network.running_statistics false"
            )
        frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
        if frozen:
            raise FewShotError(f"MAML adapts every weight, and {frozen[0]} is frozen: leave requires_grad true")
        if ways < 1:
            raise FewShotError(f"ways must be at least 1, not {ways}")
        if inner_lr <= 0:
            raise FewShotError(f"inner_lr must be positive, not {inner_lr}")
        if task_chunk_size is not None and task_chunk_size < 1:
            raise FewShotError(f"task_chunk_size must be at least 1, not {task_chunk_size}")
        if compile and inner_loop != "vectorized":
            raise FewShotError(f"compile needs inner_loop vectorized, not {inner_loop}: set --model.compile false")
        self.ways = ways
        self.adaptation_steps = adaptation_steps
        self.test_adaptation_steps = test_adaptation_steps
        self.batch_norm = batch_norm
        self.task_chunk_size = task_chunk_size
        self.recorded = Recorded(self.outer) if compile else None
        self.network = Classifier(network, outputs=ways)
        adapted = self.network.head if adapt == "head" else self.network
        self.inner_rates = InnerRates(learn_inner_lr, inner_lr, adapted, adaptation_steps)
        self.order: Graph = "first" if first_order else "second"
        self.inner_loop = INNER_LOOPS[inner_loop](
            self.network, self.inner_rates, self.loss, adapt=adapt, batch_norm=batch_norm
        )

    def setup(self, stage: str) -> None:
        """Refuses what cannot work before any time is spent on it.

        Raises:
            FewShotError: If the episodes have another number of classes than the head, or the precision is
                float16.
        """
        datamodule = getattr(self.trainer, "datamodule", None)
        for ways in (getattr(datamodule, name, self.ways) for name in ("ways", "test_ways")):
            if ways != self.ways:
                raise FewShotError(
                    f"MAML's head has {self.ways} outputs and cannot judge {ways}-way episodes: "
                    f"train and test it at the same number of ways"
                )
        if str(self.trainer.precision).startswith("16"):
            raise FewShotError(
                f"{self.trainer.precision} cannot train MAML: inner gradients underflow in float16, and a gradient "
                "scaler scales the outer loss only. Use --trainer.precision bf16-mixed or 32-true"
            )
        if self.inner_rates.learn == "per-step" and self.test_adaptation_steps > self.adaptation_steps:
            rank_zero_info(
                f"Evaluating with {self.test_adaptation_steps} steps, but rates were learned for "
                f"{self.adaptation_steps}: the later steps reuse the rates of the last."
            )

    def forward(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries, differentiably in the initial weights and learned rates."""
        *_, learners = self.inner_loop.adapt(episode.support, self.adaptation_steps, graph=self.order)
        return Prediction(learners(episode.query.x))

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """The loss to descend and the logits. Chunks of tasks give up their graphs for their gradients one by one."""
        chunks = episode.split(self.task_chunk_size)
        if len(chunks) == 1 and self.recorded is None:
            return super().outer_loss(episode)
        parameters: list[Tensor] = list(self.parameters())
        total = [torch.zeros_like(parameter) for parameter in parameters]
        losses, logits = [], []
        for chunk in chunks:
            part = (self.recorded or self.outer)(parameters, chunk)
            share = len(part.logits) / len(episode.query.y)
            torch._foreach_add_(total, part.gradients, alpha=share)
            losses.append(share * part.loss)
            logits.append(part.logits)
        return with_gradient(torch.stack(losses).sum(), parameters, total), torch.cat(logits)

    def outer(self, parameters: list[Tensor], episode: Episode) -> Outer:
        """Loss, logits and gradients at the given parameters, in the order of ``parameters()``."""
        with torch.enable_grad():
            parameters = [parameter.detach().requires_grad_() for parameter in parameters]
            named = dict(zip(dict(self.named_parameters()), parameters))
            logits = functional_call(self, named, (episode,)).logits
            loss = self.loss(logits, episode.query.y)
            gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        return Outer(loss.detach(), logits.detach(), list(gradients))

    def evaluate(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries, before and after."""
        if torch.is_inference_mode_enabled():
            raise FewShotError("MAML takes gradients while it is tested: make the Trainer with inference_mode=False")
        predictions = [self._evaluate(chunk) for chunk in episode.split(self.task_chunk_size)]
        return Prediction(*(torch.cat(parts) for parts in zip(*predictions)))

    def _evaluate(self, episode: Episode) -> Prediction:
        with torch.enable_grad():
            adaptation = self.inner_loop.adapt(episode.support, self.test_adaptation_steps, graph="none")
            for step, learners in enumerate(adaptation):
                if step == 0:
                    before = learners(episode.query.x)
            return Prediction(learners(episode.query.x), before)

    def describe(self) -> dict[str, Any]:
        """Adaptation steps and batch-norm mode."""
        return {"adaptation_steps": self.test_adaptation_steps, "batch_norm": self.batch_norm}
