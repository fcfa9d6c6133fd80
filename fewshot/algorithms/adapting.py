"""What the learners share that take gradient steps on a support set: a head, the steps, and how they are judged."""

from collections import deque
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor

from fewshot.algorithms.base import EpisodicModule
from fewshot.episodes import Episode, Examples, Prediction
from fewshot.errors import FewShotError, at_least_one, positive
from fewshot.fast.chunks import largest_activation, tasks_at_once
from fewshot.inner_loop import (
    Adapt,
    Draw,
    Graph,
    InnerLoop,
    InnerOptimizer,
    Learners,
    VectorizedInnerLoop,
    adapted_parameters,
)
from fewshot.networks import BatchNormMode, Classifier, Embedding, keeps_running_statistics, norms_of

Loop = TypeVar("Loop", bound=InnerLoop)


class AdaptingModule(EpisodicModule):
    """A learner that is adapted to a task by gradient steps on its support set.

    Attributes:
        inner_loop: How a meta-batch is adapted in training; set by the algorithm.
        test_inner_loop: The same in validation and test, where it is another.
        learns_statistics: Whether the training is the one whose statistics batch norm keeps in the mode ``running``.

    Args:
        network: The embedding network; a linear head goes on top of it.
        outputs: Outputs of the head: classes per task, N, or 1 for regression; the command line takes it from the data.
        inner_lr: Inner step size α.
        adaptation_steps: Inner gradient steps in training.
        test_adaptation_steps: Inner gradient steps in validation and test; as in training if not given.
        adapt: Which weights adapt: ``all``, those of the ``head`` (ANIL; Raghu et al., 2020, Rapid Learning or Feature
            Reuse?, https://arxiv.org/abs/1909.09157), or those whose names start with one of a list of prefixes, such
            as ``[features.convolutions.3, head]``. What does not adapt may be frozen by the network.
        batch_norm: Whose statistics normalise the queries: their own, all queries of the task together
            (``transductive``), the support set's (``inductive``), or those of training (``running``), which stay as
            they are and want a network that keeps them.
        task_chunk_size: Adapt so many tasks at a time, or ``all`` of a meta-batch. If not given, on a CPU as many as
            keep the largest activation below 24 MB: more need more memory, and are slower. Results are the same.
        **shared: The options of every learner.

    Raises:
        FewShotError: If a number is out of range, the network's batch norm is of the other kind, or a weight that
            adapts is frozen.
    """

    inner_loop: InnerLoop
    test_inner_loop: InnerLoop | None = None
    learns_statistics: ClassVar[bool] = False

    def __init__(
        self,
        network: Embedding,
        outputs: int = 5,
        inner_lr: float = 0.1,
        adaptation_steps: int = 1,
        test_adaptation_steps: int | None = None,
        adapt: Adapt = "all",
        batch_norm: BatchNormMode = "transductive",
        task_chunk_size: int | Literal["all"] | None = None,
        **shared: Any,
    ) -> None:
        super().__init__(**shared)
        if test_adaptation_steps is None:
            test_adaptation_steps = adaptation_steps
        if min(adaptation_steps, test_adaptation_steps) < 0:
            raise FewShotError(
                f"adaptation_steps must not be negative: got {adaptation_steps} in training and "
                f"{test_adaptation_steps} in test"
            )
        positive(inner_lr=inner_lr)
        at_least_one(outputs=outputs)
        if isinstance(task_chunk_size, int):
            at_least_one(task_chunk_size=task_chunk_size)
        self.outputs = outputs
        self.adaptation_steps = adaptation_steps
        self.test_adaptation_steps = test_adaptation_steps
        self.adapt_option: Adapt = adapt
        self.batch_norm = batch_norm
        self.task_chunk_size = task_chunk_size
        self._activations: dict[Any, int] = {}
        self._check_batch_norm(network)
        self.network = Classifier(network, outputs)
        self.train(self.training)  # Lightning trains in the mode that it finds
        for name, parameter in self.adapted_parameters().items():
            if not parameter.requires_grad:
                raise FewShotError(
                    f"{self.title} adapts {name}, which is frozen: leave requires_grad true, or name what adapts by "
                    "--model.adapt head or a list of prefixes"
                )

    def _check_batch_norm(self, network: Embedding) -> None:
        kept = keeps_running_statistics(network)
        self.normalised = kept is not None
        if kept and self.batch_norm != "running":
            raise FewShotError(
                f"{self.title} with batch norm {self.batch_norm} needs a network without running statistics, which its "
                "tasks would share and change even in a test: --model.network.running_statistics false"
            )
        if kept is False and self.batch_norm == "running":
            raise FewShotError(
                f"{self.title} needs batch norm with running statistics here, those of training: "
                "--model.network.running_statistics true"
            )

    def adapted_parameters(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that the inner loop adapts, by their names in the network."""
        return adapted_parameters(self.network, self.adapt_option)

    def make_loop(self, optimizer: InnerOptimizer, kind: type[Loop] = VectorizedInnerLoop) -> Loop:  # type: ignore[assignment]
        """An inner loop over this learner's network with its options."""
        return kind(self.network, optimizer, self.loss, adapt=self.adapt_option, batch_norm=self.batch_norm)

    def setup(self, stage: str) -> None:
        """Refuses what cannot work before any time is spent on it.

        Raises:
            FewShotError: If the episodes have another number of classes than the head, or the precision is
                float16.
        """
        super().setup(stage)
        self.refuse_other_ways(self.outputs)
        if str(self.trainer.precision).startswith("16"):
            raise FewShotError(
                f"{self.trainer.precision} cannot train {self.title}: inner gradients underflow in float16, and a "
                "gradient scaler scales the outer loss only. Use --trainer.precision bf16-mixed or 32-true"
            )

    def train(self, mode: bool = True) -> "AdaptingModule":
        """Sets training mode; in the mode ``running``, batch norm keeps to the statistics that it came with."""
        super().train(mode)
        if self.batch_norm == "running" and not self.learns_statistics:
            for norm in norms_of(self.network):
                norm.eval()
        return self

    def draw(self, support: Examples) -> Draw | None:
        """What each inner step learns from; ``None``: from the whole support set."""
        return None

    def adapt(self, support: Examples, steps: int, graph: Graph, loop: InnerLoop | None = None) -> Iterator[Learners]:
        """The learners after 0, 1, ..., ``steps`` steps; see :meth:`InnerLoop.adapt`."""
        return (loop or self.inner_loop).adapt(support, steps, graph=graph, draw=self.draw(support))

    def adapted(self, support: Examples, steps: int, graph: Graph, loop: InnerLoop | None = None) -> Learners:
        """The learners after ``steps`` steps; those on the way there are not kept."""
        return deque(self.adapt(support, steps, graph, loop), maxlen=1).pop()

    def chunks(self, episode: Episode) -> list[Episode]:
        """The meta-batch in parts of as many tasks as are adapted at once."""
        if self.task_chunk_size is not None:
            return episode.chunks(None if self.task_chunk_size == "all" else self.task_chunk_size)
        tasks, (x, query_x) = len(episode.query.y), (episode.support.x, episode.query.x)
        if x.device.type != "cpu" or tasks == 1:
            return [episode]
        key = x.shape[2:], x.dtype, torch.is_autocast_enabled("cpu")
        if key not in self._activations:
            self._activations[key] = largest_activation(self.network, x[0, :2])
        return episode.chunks(tasks_at_once(tasks, self._activations[key] * max(x.shape[1], query_x.shape[1])))

    def predict(self, episode: Episode) -> Prediction:
        """Adapts to each task and predicts its queries, before and after."""
        if torch.is_inference_mode_enabled():
            raise FewShotError(
                f"{self.title} takes gradients while it is tested: make the Trainer with inference_mode=False"
            )
        chunks = [self._predict(chunk) for chunk in self.chunks(episode)]
        return Prediction(*(torch.cat(parts) for parts in zip(*chunks)))

    def _predict(self, episode: Episode) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            adaptation = self.adapt(episode.support, self.test_adaptation_steps, "none", self.test_inner_loop)
            for step, learners in enumerate(adaptation):
                if step == 0:
                    before = learners(episode.query.x)
            return (learners(episode.query.x) if step else before), before

    def describe(self) -> dict[str, Any]:
        """Adaptation steps, and the batch-norm mode of a network that has some."""
        steps = {"adaptation_steps": self.test_adaptation_steps}
        return {**steps, "batch_norm": self.batch_norm} if self.normalised else steps
