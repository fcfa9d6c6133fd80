"""The protocol that every algorithm shares: loss, metrics, logging, optimiser. Never method."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.autograd import Function
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.metrics import EpisodeStatistics
from fewshot.objectives import OBJECTIVES, LossName

LRSchedulerCallable = Callable[[Optimizer], LRScheduler]


class Prediction(NamedTuple):
    """What an algorithm says of the queries of T tasks.

    Attributes:
        outputs: After adaptation: logits ``[T, N*Q, N]``, or for regression numbers ``[T, Q, 1]``.
        before: Before adaptation, the same shape; ``None`` for an algorithm that has no such thing.
    """

    outputs: Tensor
    before: Tensor | None = None


class _WithGradient(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: Sequence[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(scale * gradient for gradient in ctx.gradients)


def with_gradient(value: Tensor, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A scalar that equals ``value`` and whose gradient in the parameters is the given one.

    So an algorithm that knows its update hands it over as a loss, and Lightning's own optimisation does the rest.
    """
    return _WithGradient.apply(value, gradients, *parameters)


class EpisodicModule(LightningModule, ABC):
    """A few-shot learner: one batch is a meta-batch of T tasks, and one outer step.

    Logs ``train/loss`` and ``train/accuracy`` every outer step, and ``{val,test}/{loss,accuracy,accuracy_std,
    accuracy_ci95}`` over the episodes of an evaluation; the algorithms that adapt add ``loss_before`` and
    ``accuracy_before``. For regression it is ``mse`` in place of ``accuracy``.

    Attributes:
        objective: The loss, and the metric that goes with it.
        episode_scores: The metric of each episode of the last evaluation, in their order on one device.

    Args:
        meta_lr: Outer step size of Adam (Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980).
        lr_scheduler: Schedule of the outer step size, stepped once per outer step; constant if not given.
        loss: ``cross-entropy`` for classification, ``mse`` for regression.
    """

    def __init__(
        self, meta_lr: float, lr_scheduler: LRSchedulerCallable | None, loss: LossName = "cross-entropy"
    ) -> None:
        super().__init__()
        if meta_lr <= 0:
            raise FewShotError(f"meta_lr must be positive, not {meta_lr}")
        self.meta_lr = meta_lr
        self.lr_scheduler = lr_scheduler
        self.objective = OBJECTIVES[loss]
        self.loss = self.objective.loss
        self._scores = EpisodeStatistics()
        self.episode_scores: list[float] = []

    def setup(self, stage: str) -> None:
        """Refuses data whose targets do not suit the loss.

        Raises:
            FewShotError: If labels are to be regressed, or numbers to be classified.
        """
        data = getattr(self.trainer, "datamodule", None)
        if getattr(data, "loss", self.objective.name) != self.objective.name:
            wants = "learns to classify" if self.objective.name == "cross-entropy" else "learns a regression"
            raise FewShotError(
                f"{type(self).__name__} {wants} (loss {self.objective.name}), and {type(data).__name__} has other "
                f"targets: choose a learner with --model.loss {data.loss}, or other data"  # type: ignore[union-attr]
            )

    @abstractmethod
    def forward(self, episode: Episode) -> Prediction:
        """Predicts the queries as in training, differentiably."""

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """The loss whose gradient is the outer step, and the outputs for the queries."""
        outputs = self(episode).outputs
        return self.loss(outputs, episode.query.y), outputs

    def evaluate(self, episode: Episode) -> Prediction:
        """Predicts the queries as in validation and test."""
        return self(episode)

    def describe(self) -> dict[str, Any]:
        """How this algorithm evaluates, for the test report: adaptation steps, batch-norm mode."""
        return {}

    def training_step(self, episode: Episode, batch_idx: int) -> Tensor:
        """One outer step."""
        loss, outputs = self.outer_loss(episode)
        scores = self.objective.scores(outputs.detach(), episode.query.y)
        self.log_dict({"train/loss": loss, f"train/{self.objective.metric}": scores.mean()}, batch_size=len(outputs))
        return loss

    def validation_step(self, episode: Episode, batch_idx: int) -> dict[str, Tensor]:
        """Judges the learner on one meta-batch of validation episodes."""
        return self._judge(episode, "val")

    def test_step(self, episode: Episode, batch_idx: int) -> dict[str, Tensor]:
        """Judges the learner on one meta-batch of test episodes."""
        return self._judge(episode, "test")

    def on_validation_epoch_end(self) -> None:
        """Logs the metric over all validation episodes."""
        self._log_summary("val")

    def on_test_epoch_end(self) -> None:
        """Logs the metric over all test episodes."""
        self._log_summary("test")

    def _judge(self, episode: Episode, split: str) -> dict[str, Tensor]:
        prediction = self.evaluate(episode)
        targets, metric, scores = episode.query.y, self.objective.metric, self.objective.scores
        self._scores.update(scores(prediction.outputs, targets))
        metrics = {f"{split}/loss": self.loss(prediction.outputs, targets)}
        if prediction.before is not None:
            metrics[f"{split}/loss_before"] = self.loss(prediction.before, targets)
            metrics[f"{split}/{metric}_before"] = scores(prediction.before, targets).mean()
        self.log_dict(metrics, batch_size=len(targets), sync_dist=True)
        return {name: value for name, value in prediction._asdict().items() if value is not None}

    def _log_summary(self, split: str) -> None:
        summary, metric = self._scores.summary(), self.objective.metric
        self.episode_scores = self._scores.compute().flatten().tolist()
        self._scores.reset()
        self.log(f"{split}/{metric}", summary.mean, prog_bar=True)
        self.log("step", float(self.trainer.global_step))  # for the x-axis; Lightning's own is one less
        self.log_dict({f"{split}/{metric}_std": summary.std, f"{split}/{metric}_ci95": summary.ci95})

    def configure_optimizers(self) -> Any:
        """Adam on everything that is learned."""
        return self.scheduled(torch.optim.Adam(self.parameters(), lr=self.meta_lr), self.lr_scheduler)

    @staticmethod
    def scheduled(optimizer: Optimizer, lr_scheduler: LRSchedulerCallable | None) -> Any:
        """An optimiser with its schedule, stepped once per outer step, as Lightning wants it."""
        if lr_scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": lr_scheduler(optimizer), "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Names the algorithm in the checkpoint."""
        checkpoint["algorithm"] = type(self).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another algorithm or another network.

        Raises:
            FewShotError: With the first difference.
        """
        theirs = checkpoint.get("algorithm", "no algorithm of fewshot")
        if theirs != type(self).__name__:
            raise FewShotError(f"the checkpoint holds {theirs}, not {type(self).__name__}: test or resume it as that")
        saved = {name: tuple(value.shape) for name, value in checkpoint["state_dict"].items()}
        own = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        for name in [*own, *saved]:
            if saved.get(name) != own.get(name):
                raise FewShotError(
                    f"the checkpoint is of another network: {name} has shape {saved.get(name, 'none')} there and "
                    f"{own.get(name, 'none')} here. Keep the checkpoint's network and --data.ways"
                )
