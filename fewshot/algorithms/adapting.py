"""What the algorithms share that take gradient steps on a support set: a head, the steps, and how they are judged."""

from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from fewshot.algorithms.base import EpisodicModule, LRSchedulerCallable, Prediction
from fewshot.episodes import Episode, Examples
from fewshot.errors import FewShotError
from fewshot.inner_loop import BatchNormMode, Graph, InnerLoop, Learners
from fewshot.networks import Classifier, Embedding, keeps_running_statistics
from fewshot.objectives import LossName


class AdaptingModule(EpisodicModule):
    """A learner that is adapted to a task by gradient steps on its support set.

    Attributes:
        inner_loop: How a meta-batch is adapted; set by the algorithm.
        running_statistics: Whether the network's batch norm has to keep running statistics, which is to say whether
            its normalisation is learned while training; otherwise it normalises by the batch at hand.

    Args:
        network: The embedding network; a linear head goes on top of it.
        outputs: Outputs of the head.
        inner_lr: Inner step size.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        batch_norm: Whose statistics normalise the queries.
        task_chunk_size: Adapt so many tasks at a time; all of the meta-batch if not given.
        loss: Loss, inside and outside.
        meta_lr: Outer step size.
        lr_scheduler: Schedule of the outer step size.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm is of the other kind.
    """

    inner_loop: InnerLoop
    running_statistics: ClassVar[bool] = False

    def __init__(
        self,
        network: Embedding,
        *,
        outputs: int,
        inner_lr: float,
        adaptation_steps: int,
        test_adaptation_steps: int | None,
        batch_norm: BatchNormMode,
        task_chunk_size: int | None,
        loss: LossName,
        meta_lr: float,
        lr_scheduler: LRSchedulerCallable | None,
    ) -> None:
        super().__init__(meta_lr, lr_scheduler, loss)
        if test_adaptation_steps is None:
            test_adaptation_steps = adaptation_steps
        if min(adaptation_steps, test_adaptation_steps) < 0:
            raise FewShotError(
                f"adaptation_steps must not be negative: got {adaptation_steps} in training and "
                f"{test_adaptation_steps} in test"
            )
        if inner_lr <= 0:
            raise FewShotError(f"inner_lr must be positive, not {inner_lr}")
        self.normalised = keeps_running_statistics(network) is not None
        if self.normalised:
            self._refuse_batch_norm(network)
        frozen = [name for name, parameter in network.named_parameters() if not parameter.requires_grad]
        if frozen:
            raise FewShotError(f"{self.title} adapts every weight, and {frozen[0]} is frozen: leave requires_grad true")
        for name, value in {"outputs": outputs, "task_chunk_size": task_chunk_size}.items():
            if value is not None and value < 1:
                raise FewShotError(f"{name} must be at least 1, not {value}")
        self.outputs = outputs
        self.adaptation_steps = adaptation_steps
        self.test_adaptation_steps = test_adaptation_steps
        self.batch_norm = batch_norm
        self.task_chunk_size = task_chunk_size
        self.network = Classifier(network, outputs)

    @property
    def title(self) -> str:
        """What to call the algorithm in messages."""
        return type(self).__name__.removesuffix("Module")

    def _refuse_batch_norm(self, network: Embedding) -> None:
        if keeps_running_statistics(network) and not self.running_statistics:
            raise FewShotError(
                f"{self.title} needs batch norm without running statistics, which its clones would share and change "
                "even in a test: --model.network.running_statistics false"
            )
        if self.running_statistics and not keeps_running_statistics(network):
            raise FewShotError(
                f"{self.title} needs batch norm with running statistics, as it trains on images of all tasks together "
                "and adapts to those of one: --model.network.running_statistics true"
            )

    def setup(self, stage: str) -> None:
        """Refuses what cannot work before any time is spent on it.

        Raises:
            FewShotError: If the episodes have another number of classes than the head, or the precision is
                float16.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        for ways in (getattr(data, name, self.outputs) for name in ("ways", "test_ways")):
            if ways != self.outputs:
                raise FewShotError(
                    f"{self.title}'s head has {self.outputs} outputs and cannot judge {ways}-way episodes: "
                    f"train and test it at the same number of ways"
                )
        if str(self.trainer.precision).startswith("16"):
            raise FewShotError(
                f"{self.trainer.precision} cannot train {self.title}: inner gradients underflow in float16, and a "
                "gradient scaler scales the outer loss only. Use --trainer.precision bf16-mixed or 32-true"
            )

    def adapt(self, support: Examples, steps: int, graph: Graph) -> Iterator[Learners]:
        """The learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        return self.inner_loop.adapt(support, steps, graph=graph)

    def adapted(self, support: Examples, steps: int, graph: Graph) -> Learners:
        """The learners after ``steps`` steps; those on the way there are not kept."""
        return deque(self.adapt(support, steps, graph), maxlen=1).pop()

    def evaluate(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries, before and after."""
        if torch.is_inference_mode_enabled():
            raise FewShotError(
                f"{self.title} takes gradients while it is tested: make the Trainer with inference_mode=False"
            )
        chunks = [self._evaluate(chunk) for chunk in episode.split(self.task_chunk_size)]
        return Prediction(*(torch.cat(parts) for parts in zip(*chunks)))

    def _evaluate(self, episode: Episode) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            adaptation = self.adapt(episode.support, self.test_adaptation_steps, "none")
            for step, learners in enumerate(adaptation):
                if step == 0:
                    before = learners(episode.query.x)
            return learners(episode.query.x), before

    def describe(self) -> dict[str, Any]:
        """Adaptation steps, and the batch-norm mode of a network that has some."""
        steps = {"adaptation_steps": self.test_adaptation_steps}
        return {**steps, "batch_norm": self.batch_norm} if self.normalised else steps
