"""The baseline that knows nothing of adaptation while it trains."""

from typing import Any

import torch
from torch import Tensor, nn

from fewshot.algorithms.adapting import AdaptingModule
from fewshot.algorithms.gradients import OuterStep
from fewshot.episodes import Episode
from fewshot.errors import FewShotError, at_least_one
from fewshot.inner_loop import Adapt, InnerSGD
from fewshot.networks import Embedding


class BaselineModule(AdaptingModule):
    """The pretrained baseline: trains on the examples of all tasks together, and fine-tunes to each task of a test.

    For classification it learns to tell all training classes apart, and each task of a test gets a new head, which
    starts at zero: the baseline of Chen et al., 2019, A Closer Look at Few-shot Classification,
    https://arxiv.org/abs/1904.04232. Deviations: the head is trained by plain gradient steps on the whole support set.
    For regression the tasks are pooled, and all weights are fine-tuned: the baseline of Finn et al., 2017,
    https://arxiv.org/abs/1703.03400, section 5.1.

    ``train/accuracy`` is among the classes of each task, before any fine-tuning.

    Args:
        network: The embedding network; a linear head goes on top of it. Its batch norm has to keep running statistics
            (``Conv4``: ``running_statistics: true``).
        train_classes: Classes to tell apart in training, rotations included; ``null`` for regression.
        inner_lr: Step size of fine-tuning.
        test_adaptation_steps: Gradient steps of fine-tuning.
        adapt: Which weights are fine-tuned: those of the ``head``, ``all``, or those whose names start with one of a
            list of prefixes.
        **shared: The options of every learner that adapts.

    Raises:
        FewShotError: If a number is out of range, or the network's batch norm keeps no running statistics.
    """

    learns_statistics = True

    def __init__(
        self,
        network: Embedding,
        train_classes: int | None = None,
        inner_lr: float = 0.01,
        test_adaptation_steps: int = 10,
        adapt: Adapt = "head",
        **shared: Any,
    ) -> None:
        super().__init__(
            network,
            inner_lr=inner_lr,
            adaptation_steps=0,
            test_adaptation_steps=test_adaptation_steps,
            adapt=adapt,
            batch_norm="running",
            **shared,
        )
        if (train_classes is None) == (self.objective.name == "cross-entropy"):
            raise FewShotError("--model.train_classes goes with --model.loss cross-entropy: give the number of classes")
        self.train_head: nn.Linear | None = None
        if train_classes is not None:
            at_least_one(train_classes=train_classes)
            self.train_head = nn.Linear(network.out_features, train_classes)
            for parameter in self.network.head.parameters():  # the head of a test
                nn.init.zeros_(parameter).requires_grad_(False)
        self.inner_loop = self.make_loop(InnerSGD(inner_lr, self.adapted_parameters()))

    def setup(self, stage: str) -> None:
        """Refuses what cannot work before any time is spent on it.

        Raises:
            FewShotError: If there are more or fewer training classes than the head tells apart.
        """
        super().setup(stage)
        spec = self.data_spec
        if stage == "fit" and self.train_head is not None and spec is not None:
            classes = len(spec.class_names.get("train", ()))
            if classes != self.train_head.out_features:
                raise FewShotError(
                    f"the training split has {classes} classes, rotations included, and the head tells "
                    f"{self.train_head.out_features} apart: --model.train_classes {classes}"
                )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Says that no test needs the head over the training classes: ``fewshot export`` leaves it out."""
        super().on_save_checkpoint(checkpoint)
        if self.train_head is not None:
            checkpoint["training_only"] = [f"train_head.{name}" for name in self.train_head.state_dict()]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Does without the head over the training classes if the checkpoint was exported.

        Raises:
            FewShotError: As that of every learner.
        """
        if "train_head.weight" not in checkpoint["state_dict"]:
            self.train_head = None
        super().on_load_checkpoint(checkpoint)

    def outer_loss(self, episode: Episode) -> OuterStep:
        """The loss over all examples of all tasks, and the outputs for the queries, among the classes of each task."""
        targets = torch.cat([episode.support.y, episode.query.y], dim=1)
        outputs = self._pooled(episode)
        queries = outputs[:, episode.support.y.shape[1] :]
        if self.train_head is not None:
            if episode.classes is None:
                raise FewShotError("the episodes do not say which classes their labels stand for: set Episode.classes")
            targets = episode.classes.gather(1, targets)
            queries = queries.gather(2, episode.classes.unsqueeze(1).expand(-1, queries.shape[1], -1))
        return OuterStep(self.loss(outputs, targets), queries)

    def _pooled(self, episode: Episode) -> Tensor:
        """Outputs for support and queries, all tasks as one batch."""
        x = torch.cat([episode.support.x, episode.query.x], dim=1)
        head = self.network.head if self.train_head is None else self.train_head
        return head(self.network.features(x.flatten(0, 1))).unflatten(0, x.shape[:2])
