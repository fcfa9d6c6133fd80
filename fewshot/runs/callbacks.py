"""What a run shows: a picture of an episode, learned rates, progress."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import TensorBoardLogger

from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.inner_loop import InnerSGD

EVERY_N_STEPS = 50  # Lightning's own default for the other values of training


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
    """Logs the learned inner step sizes as ``inner_lr/...``: at the start, every 50 outer steps, and at the end."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs where they start."""
        self._log(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Logs them after the outer step."""
        if trainer.global_step % EVERY_N_STEPS == 0:
            self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs where they ended."""
        self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        optimizer = getattr(pl_module, "inner_optimizer", None)
        if isinstance(optimizer, InnerSGD) and trainer.logger:
            scalars = {f"inner_lr/{name}": value.item() for name, value in optimizer.named_scalars().items()}
            trainer.logger.log_metrics(scalars, trainer.global_step)


class ProgressBar(RichProgressBar):
    """Lightning's progress bar, counting the outer steps of the whole run; no epochs, no version number of the log."""

    @property
    def total_train_batches(self) -> int | float:
        """All outer steps of a resumed run, not only those that remain."""
        return self.trainer.max_steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar to the outer step."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training  "

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What is shown behind the bar."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics
