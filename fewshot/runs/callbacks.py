"""What a run shows in TensorBoard: a picture of an episode, learned rates."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.inner_loop import InnerSGD

RATES = "weights/inner_lr"
"""The section of the learned rates, which TensorBoard sorts behind loss and accuracy of ``train`` and ``val``."""


class Log(TensorBoardLogger):
    """TensorBoard's log without ``epoch``: a training is one epoch of outer steps."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:  # type: ignore[override]
        """Logs all values but that."""
        super().log_metrics({name: value for name, value in metrics.items() if name != "epoch"}, step)


class EpisodeFigure(Callback):
    """Draws one validation episode and its predictions for TensorBoard, after each validation, as the data draw it."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Episode,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws the first meta-batch."""
        if batch_idx or not trainer.is_global_zero or not isinstance(trainer.logger, TensorBoardLogger):
            return
        data = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(data, EpisodicDataModule) and isinstance(outputs, dict):
            figure = data.figure(batch, outputs["prediction"])
            if figure is not None:
                trainer.logger.experiment.add_figure("val/episode", figure, trainer.global_step)


class LearnedRates(Callback):
    """Logs learned inner step sizes as ``weights/inner_lr/...``: at the start, as often as the loss, and at the end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs where they start."""
        self._log(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Logs them after the outer step."""
        if trainer.global_step % (trainer.log_every_n_steps or 50) == 0:  # type: ignore[attr-defined]
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs where they ended."""
        self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        optimizer = getattr(pl_module, "inner_optimizer", None)
        if isinstance(optimizer, InnerSGD) and trainer.logger:
            scalars = {f"{RATES}/{name}": value.item() for name, value in optimizer.named_scalars().items()}
            trainer.logger.log_metrics(scalars, trainer.global_step)
