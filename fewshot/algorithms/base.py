"""The protocol that every learner shares: loss, metrics, logging, optimiser. Never method."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from pytorch_lightning import LightningModule
from torch import Tensor

from fewshot.algorithms.gradients import OuterStep
from fewshot.algorithms.independence import batch_layers, evaluating, moved_by_other_queries
from fewshot.checkpoints import model_options, read_checkpoint, refuse_another
from fewshot.episodes import DataSpec, Episode, Prediction
from fewshot.errors import CannotDoError, FewShotError, positive
from fewshot.metrics import EpisodeStatistics, Summary
from fewshot.networks import Embedding, without_weights
from fewshot.objectives import OBJECTIVES, LossName
from fewshot.parser import Parser
from fewshot.schedules import LRSchedulerCallable, OptimizerCallable, ScheduleName, rehearse, scheduled

Learner = TypeVar("Learner", bound="EpisodicModule")


class EpisodicModule(LightningModule, ABC):
    """A few-shot learner: one batch is a meta-batch of T tasks, and one outer step.

    A learner says what is descended (:meth:`outer_loss`) and what is predicted (:meth:`predict`).

    Logs ``train/loss`` and ``train/accuracy`` every outer step, and ``{val,test}/{loss,accuracy,accuracy_std,
    accuracy_ci95}`` over the episodes of an evaluation; the learners that adapt add ``loss_before`` and
    ``accuracy_before``. For regression it is ``mse`` in place of ``accuracy``.

    Attributes:
        objective: The loss, and the metric that goes with it.
        summary: The metric over the episodes of the last evaluation.
        episode_scores: The metric of each of these episodes, in their order on one device.
        transductive: Whether the queries of a task are judged together, as tried out; ``None`` until then.
        options: Its ``class_path`` and resolved ``init_args``, for reports; ``None`` if it was made without a parser.

    Args:
        meta_lr: Outer step size β.
        optimizer: Outer optimiser, a class of ``torch.optim`` with its options but the step size: Adam (Kingma and Ba,
            2015, https://arxiv.org/abs/1412.6980) if not given. AdamW has weight decay.
        lr_scheduler: How the outer step size goes on, stepped once per outer step: ``constant``, ``linear`` or
            ``cosine`` (both to zero), ``step`` (a tenth at half of the training and again at three quarters), each
            over the length of the training; or a class of ``torch.optim.lr_scheduler`` with its options.
        loss: ``cross-entropy`` for classification, ``mse`` for regression.

    Raises:
        FewShotError: If a number is out of range.
    """

    def __init__(
        self,
        meta_lr: float = 1e-3,
        optimizer: OptimizerCallable = torch.optim.Adam,
        lr_scheduler: ScheduleName | LRSchedulerCallable = "constant",
        loss: LossName = "cross-entropy",
    ) -> None:
        super().__init__()
        positive(meta_lr=meta_lr)
        self.meta_lr = meta_lr
        self.optimizer = optimizer
        self.lr_scheduler = lr_scheduler
        self.objective = OBJECTIVES[loss]
        self.loss = self.objective.loss
        self._scores = EpisodeStatistics()
        self.summary: Summary | None = None
        self.episode_scores: list[float] = []
        self.transductive: bool | None = None
        self.options: dict[str, Any] | None = None

    @abstractmethod
    def outer_loss(self, episode: Episode) -> OuterStep:
        """What is descended: the loss whose gradient is the outer step, and the outputs for the queries."""

    @abstractmethod
    def predict(self, episode: Episode) -> Prediction:
        """What is predicted: the outputs for the queries as in validation and test, without a graph."""

    def describe(self) -> dict[str, Any]:
        """How this learner is evaluated, for the test report: adaptation steps, batch-norm mode."""
        return {}

    @property
    def together(self) -> bool:
        """Whether the queries of a task are meant to be judged together; see :meth:`verify`."""
        return self.describe().get("batch_norm", "transductive") == "transductive"

    def forward(self, episode: Episode) -> Prediction:
        """Predicts; see :meth:`predict`."""
        return self.predict(episode)

    @property
    def data_spec(self) -> DataSpec | None:
        """What the data state about themselves; ``None`` from loaders that are no data module of episodes."""
        return getattr(getattr(self._trainer, "datamodule", None), "spec", None)

    @property
    def title(self) -> str:
        """What to call the learner in messages."""
        return type(self).__name__.removesuffix("Module")

    def setup(self, stage: str) -> None:
        """Refuses data whose targets do not suit the loss.

        Raises:
            FewShotError: If labels are to be regressed, or numbers to be classified.
        """
        spec = self.data_spec
        if spec is not None and spec.loss != self.objective.name:
            wants = "learns to classify" if self.objective.name == "cross-entropy" else "learns a regression"
            raise FewShotError(
                f"{type(self).__name__} {wants} (loss {self.objective.name}), and "
                f"{type(self.trainer.datamodule).__name__} has other "  # type: ignore[attr-defined]
                f"targets: choose a learner with --model.loss {spec.loss}, or other data"
            )

    def refuse_other_ways(self, outputs: int) -> None:
        """For learners of as many classes as their head has outputs.

        Raises:
            CannotDoError: If the episodes have another number of classes.
        """
        spec = self.data_spec
        for ways in () if spec is None else (spec.outputs, spec.test_outputs):
            if ways != outputs:
                raise CannotDoError(
                    f"{self.title}'s head has {outputs} outputs and cannot judge {ways}-way episodes: train and test "
                    "it at the same number of ways"
                )

    def on_train_batch_start(self, episode: Episode, batch_idx: int) -> None:
        """Tells networks of the batch, and tries the learner's word before the first one: see :meth:`verify`."""
        for module in self.modules():
            if isinstance(module, Embedding):
                module.begin_batch()
        self.trainer.callback_metrics.pop("step", None)  # a validation's: a ModelCheckpoint would name its files by it
        if self.transductive is None and not self.together:
            self.verify(episode)

    def on_test_start(self) -> None:
        """Believes nothing that was tried before: options may have changed."""
        self.transductive = None

    def on_test_batch_start(self, episode: Episode, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Finds out how the queries are judged, for the report."""
        if self.transductive is None:
            self.verify(episode)

    def verify(self, episode: Episode) -> None:
        """Finds out whether queries are judged together, by replacing some of them: sets :attr:`transductive`.

        Args:
            episode: A meta-batch, as the learner is trained or tested on.

        Raises:
            FewShotError: If the learner says that each is judged on its own, and it is not so.
        """
        with evaluating(self), self.trainer.precision_plugin.forward_context():
            moved = moved_by_other_queries(self.predict, episode)
        self.transductive = bool(moved) if moved is not None else self.together
        if moved and not self.together:
            mode = self.describe().get("batch_norm")
            layers = ", ".join(batch_layers(self)) or "none that is known"
            raise FewShotError(
                f"{self.title} is to judge each query on its own (batch norm {mode}), but replacing others moved an "
                f"output by {moved:.3g}. Layers that normalise by the batch: {layers}. Use fewshot's BatchNorm, which "
                "is told the support set's size, or --model.batch_norm transductive"
            )

    def training_step(self, episode: Episode, batch_idx: int) -> Tensor:
        """One outer step."""
        loss, outputs = self.outer_loss(episode)
        scores = self.objective.scores(outputs.detach(), episode.query.y)
        self.log_dict({"train/loss": loss, f"train/{self.objective.metric}": scores.mean()}, batch_size=len(outputs))
        return loss

    def validation_step(self, episode: Episode, batch_idx: int) -> dict[str, Prediction]:
        """Judges the learner on one meta-batch of validation episodes."""
        return self._judge(episode, "val")

    def test_step(self, episode: Episode, batch_idx: int) -> dict[str, Prediction]:
        """Judges the learner on one meta-batch of test episodes."""
        return self._judge(episode, "test")

    def on_validation_epoch_start(self) -> None:
        """Begins anew."""
        self._begin()

    def on_test_epoch_start(self) -> None:
        """Begins anew."""
        self._begin()

    def on_validation_epoch_end(self) -> None:
        """Logs the metric over all validation episodes."""
        self._log_summary("val")

    def on_test_epoch_end(self) -> None:
        """Logs the metric over all test episodes."""
        self._log_summary("test")

    def _begin(self) -> None:
        """Begins an evaluation without the scores of one that was cut off."""
        self._scores.reset()

    def _judge(self, episode: Episode, split: str) -> dict[str, Prediction]:
        prediction = self.predict(episode)
        targets, metric, judge = episode.query.y, self.objective.metric, self.objective.judge
        self._scores.update(judge(prediction.outputs, targets))
        metrics = {f"{split}/loss": self.loss(prediction.outputs, targets)}
        if prediction.before is not None:
            metrics[f"{split}/loss_before"] = self.loss(prediction.before, targets)
            metrics[f"{split}/{metric}_before"] = judge(prediction.before, targets).mean()
        self.log_dict(metrics, batch_size=len(targets), sync_dist=True)
        return {"prediction": prediction}

    def _log_summary(self, split: str) -> None:
        self.summary, metric = self._scores.summary(), self.objective.metric
        self.episode_scores = self._scores.compute().flatten().tolist()
        self.log(f"{split}/{metric}", self.summary.mean, prog_bar=True)
        self.log("step", float(self.trainer.global_step))  # for the x-axis; Lightning's own is one less
        spread = {f"{split}/{metric}_std": self.summary.std, f"{split}/{metric}_ci95": self.summary.ci95}
        self.log_dict({name: value for name, value in spread.items() if value is not None})

    def configure_optimizers(self) -> Any:
        """The outer optimiser, on everything that is learned, and its schedule."""
        rehearse(self.optimizer, self.parameters(), self.meta_lr, self.lr_scheduler)
        optimizer = self.optimizer(self.parameters(), self.meta_lr)
        return scheduled(optimizer, self.lr_scheduler, self.trainer)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", trust: Sequence[str] = (), **options: Any
    ) -> "EpisodicModule":
        """Makes the learner of a checkpoint anew, with all that it has learned, in evaluation mode.

        Args:
            checkpoint_path: A checkpoint that ``fewshot fit`` wrote, or the name of one that comes with fewshot.
            map_location: The device to put it on.
            trust: Modules of your own whose classes the checkpoint may use, beside the class that you call this on.
            **options: What to change of its options, such as ``test_adaptation_steps=10``.

        Raises:
            FewShotError: If it is none, of another learner, or wants a class that is not one of fewshot, nor trusted.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        parser = Parser()
        parser.add_subclass_arguments(EpisodicModule, "model")
        model = model_options(checkpoint, [f"{cls.__module__}.{cls.__qualname__}", *trust], **options)
        with without_weights():
            module = parser.instantiate_classes(parser.parse_object({"model": model})).model
        if not isinstance(module, cls):
            raise FewShotError(f"{checkpoint_path} holds {type(module).__name__}, not {cls.__name__}")
        return module.restored(checkpoint).to(map_location)

    def restored(self: Learner, checkpoint: dict[str, Any]) -> Learner:
        """This learner with what a checkpoint has learned, in evaluation mode.

        Args:
            checkpoint: What :func:`fewshot.checkpoints.read_checkpoint` reads.

        Raises:
            FewShotError: If it is of another learner or another network.
        """
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"])
        return self.eval()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Names the algorithm in the checkpoint."""
        checkpoint["algorithm"] = type(self).__name__

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another algorithm or another network, and weights that are not finite.

        Raises:
            FewShotError: With the first difference.
        """
        refuse_another(checkpoint, type(self).__name__, self.title, self.state_dict())
