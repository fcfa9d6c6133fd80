"""The protocol that every algorithm shares: loss, metrics, logging, optimiser. Never method."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule
from torch import Tensor
from torch.autograd import Function
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from fewshot.episodes import Episode
from fewshot.errors import FewShotError
from fewshot.metrics import EpisodeStatistics

LRSchedulerCallable = Callable[[Optimizer], LRScheduler]


class Prediction(NamedTuple):
    """What an algorithm says of the queries of T tasks.

    Attributes:
        logits: After adaptation, ``[T, N*Q, N]``.
        before: Before adaptation, the same shape; ``None`` for an algorithm that has no such thing.
    """

    logits: Tensor
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
    ``accuracy_before``.

    Attributes:
        episode_accuracies: The accuracy of each episode of the last evaluation, in their order on one device.

    Args:
        meta_lr: Outer step size of Adam (Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980).
        lr_scheduler: Schedule of the outer step size, stepped once per outer step; constant if not given.
    """

    def __init__(self, meta_lr: float, lr_scheduler: LRSchedulerCallable | None) -> None:
        super().__init__()
        if meta_lr <= 0:
            raise FewShotError(f"meta_lr must be positive, not {meta_lr}")
        self.meta_lr = meta_lr
        self.lr_scheduler = lr_scheduler
        self._accuracies = EpisodeStatistics()
        self.episode_accuracies: list[float] = []

    @abstractmethod
    def forward(self, episode: Episode) -> Prediction:
        """Predicts the queries as in training, differentiably."""

    def outer_loss(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """The loss whose gradient is the outer step, and the logits of the queries."""
        logits = self(episode).logits
        return self.loss(logits, episode.query.y), logits

    def evaluate(self, episode: Episode) -> Prediction:
        """Predicts the queries as in validation and test."""
        return self(episode)

    def describe(self) -> dict[str, Any]:
        """How this algorithm evaluates, for the test report: adaptation steps, batch-norm mode."""
        return {}

    @staticmethod
    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy over all examples (and tasks): logits ``[..., N]``, labels ``[...]``."""
        return F.cross_entropy(logits.flatten(0, -2), labels.flatten())

    @staticmethod
    def accuracies(logits: Tensor, labels: Tensor) -> Tensor:
        """Accuracy of each task, 0 to 1: logits ``[T, n, N]``, labels ``[T, n]``, result ``[T]``."""
        return (logits.argmax(-1) == labels).float().mean(-1)

    def training_step(self, episode: Episode, batch_idx: int) -> Tensor:
        """One outer step."""
        loss, logits = self.outer_loss(episode)
        self.log("train/loss", loss, batch_size=len(logits))
        self.log("train/accuracy", self.accuracies(logits.detach(), episode.query.y).mean(), batch_size=len(logits))
        return loss

    def validation_step(self, episode: Episode, batch_idx: int) -> dict[str, Tensor]:
        """Judges the learner on one meta-batch of validation episodes."""
        return self._judge(episode, "val")

    def test_step(self, episode: Episode, batch_idx: int) -> dict[str, Tensor]:
        """Judges the learner on one meta-batch of test episodes."""
        return self._judge(episode, "test")

    def on_validation_epoch_end(self) -> None:
        """Logs the accuracy over all validation episodes."""
        self._log_summary("val")

    def on_test_epoch_end(self) -> None:
        """Logs the accuracy over all test episodes."""
        self._log_summary("test")

    def _judge(self, episode: Episode, split: str) -> dict[str, Tensor]:
        prediction = self.evaluate(episode)
        labels = episode.query.y
        self._accuracies.update(self.accuracies(prediction.logits, labels))
        metrics = {f"{split}/loss": self.loss(prediction.logits, labels)}
        if prediction.before is not None:
            metrics[f"{split}/loss_before"] = self.loss(prediction.before, labels)
            metrics[f"{split}/accuracy_before"] = self.accuracies(prediction.before, labels).mean()
        self.log_dict(metrics, batch_size=len(labels), sync_dist=True)
        return {"predictions": prediction.logits.argmax(-1)}

    def _log_summary(self, split: str) -> None:
        summary = self._accuracies.summary()
        self.episode_accuracies = self._accuracies.compute().flatten().tolist()
        self._accuracies.reset()
        self.log(f"{split}/accuracy", summary.mean, prog_bar=True)
        self.log("step", float(self.trainer.global_step))  # for the x-axis; Lightning's own is one less
        self.log_dict({f"{split}/accuracy_std": summary.std, f"{split}/accuracy_ci95": summary.ci95})

    def configure_optimizers(self) -> Any:
        """Adam on everything that is learned."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.meta_lr)
        if self.lr_scheduler is None:
            return optimizer
        scheduler = {"scheduler": self.lr_scheduler(optimizer), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

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
