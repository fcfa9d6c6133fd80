"""The baseline that knows nothing of adaptation while it trains."""

import torch
from torch import Tensor, nn

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.base import LRSchedulerCallable, Prediction
from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.inner_loop import Adapt, InnerRates, VectorizedInnerLoop
from fewshot.networks import Embedding
from fewshot.objectives import LossName


class PretrainedModule(AdaptingModule):
    """Pretraining: trains one network on the examples of all tasks together, and fine-tunes it to each task of a test.

    For classification it learns to tell all training classes apart, and each task of a test gets a new head, which
    starts at zero: the baseline of Chen et al., 2019, A Closer Look at Few-shot Classification,
    https://arxiv.org/abs/1904.04232. Deviations: the head is trained by plain gradient steps on the whole support set.
    For regression the tasks are pooled, and all weights are fine-tuned: the baseline of Finn et al., 2017,
    https://arxiv.org/abs/1703.03400, section 5.1.

    ``train/accuracy`` is among the classes of each task, before any fine-tuning.

    Args:
        network: The embedding network; a linear head goes on top of it. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        outputs: Outputs of the head: classes per task, N, or 1 for regression; the command line takes it from the data.
        train_classes: Classes to tell apart in training, rotations included; ``null`` for regression.
        inner_lr: Step size of fine-tuning.
        test_adaptation_steps: Gradient steps of fine-tuning.
        adapt: What is fine-tuned: ``all`` layers, or the ``head`` alone.
        task_chunk_size: Fine-tune so many tasks at a time; all of the meta-batch if not given.
        loss: ``cross-entropy`` for classification, ``mse`` for regression.
        meta_lr: Step size of Adam in training.
        lr_scheduler: Schedule of it, stepped once per outer step; constant if not given.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm keeps no running statistics.
    """

    running_statistics = True

    def __init__(
        self,
        network: Embedding,
        outputs: int = 5,
        train_classes: int | None = None,
        inner_lr: float = 0.01,
        test_adaptation_steps: int = 10,
        adapt: Adapt = "head",
        task_chunk_size: int | None = None,
        loss: LossName = "cross-entropy",
        meta_lr: float = 1e-3,
        lr_scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__(
            network,
            outputs=outputs,
            inner_lr=inner_lr,
            adaptation_steps=0,
            test_adaptation_steps=test_adaptation_steps,
            batch_norm="inductive",
            task_chunk_size=task_chunk_size,
            loss=loss,
            meta_lr=meta_lr,
            lr_scheduler=lr_scheduler,
        )
        if (train_classes is None) == (loss == "cross-entropy"):
            raise FewShotError("--model.train_classes goes with --model.loss cross-entropy: give the number of classes")
        self.train_head = None if train_classes is None else nn.Linear(network.out_features, train_classes)
        if train_classes is not None:  # the head of a test
            for parameter in self.network.head.parameters():
                nn.init.zeros_(parameter).requires_grad_(False)
        adapted = self.network.head if adapt == "head" else self.network
        self.inner_loop = VectorizedInnerLoop(
            self.network, InnerRates("none", inner_lr, adapted, 1), self.loss, adapt=adapt, batch_norm="transductive"
        )  # normalised by running statistics, that is; the others are not used

    def setup(self, stage: str) -> None:
        """Refuses what cannot work before any time is spent on it.

        Raises:
            FewShotError: If there are more or fewer training classes than the head tells apart.
        """
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if stage == "fit" and self.train_head is not None and data is not None:
            classes = getattr(data, "train_classes", None)
            if classes is None:
                raise FewShotError(f"{type(data).__name__} does not say how many classes it trains on: train_classes")
            if classes != self.train_head.out_features:
                raise FewShotError(
                    f"the training split has {classes} classes, rotations included, and the head tells "
                    f"{self.train_head.out_features} apart: --model.train_classes {classes}"
                )

    def forward(self, episode: Episode) -> Prediction:
        """Outputs for the queries, without any fine-tuning: ``[T, n, train_classes]``, or numbers ``[T, n, 1]``."""
        return Prediction(self._pooled(episode)[:, episode.support.y.shape[1] :])

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """The loss over all examples of all tasks, and the outputs for the queries, among the classes of each task."""
        targets = torch.cat([episode.support.y, episode.query.y], dim=1)
        outputs = self._pooled(episode)
        queries = outputs[:, episode.support.y.shape[1] :]
        if self.train_head is not None:
            if episode.classes is None:
                raise FewShotError("the episodes do not say which classes their labels stand for: set Episode.classes")
            targets = episode.classes.gather(1, targets)
            queries = queries.gather(2, episode.classes.unsqueeze(1).expand(-1, queries.shape[1], -1))
        return self.loss(outputs, targets), queries

    def _pooled(self, episode: Episode) -> Tensor:
        """Outputs for support and queries, all tasks as one batch."""
        x = torch.cat([episode.support.x, episode.query.x], dim=1)
        head = self.network.head if self.train_head is None else self.train_head
        return head(self.network.features(x.flatten(0, 1))).unflatten(0, x.shape[:2])
