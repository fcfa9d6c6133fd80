"""What a run leaves behind beside its weights: TensorBoard figures, learned rates, the test report."""

import json
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch.utils.tensorboard.summary import hparams

from fewshot import __version__
from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import KEY
from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.inner_loop import InnerRates
from fewshot.objectives import BY_METRIC
from fewshot.plots import episode_figure, fits_grid

EVERY_N_STEPS = 50  # Lightning's own default for the other values of training
STARTED_AT = "train/started_at"


def flat(options: Any, prefix: str = "") -> dict[str, Any]:
    """Nested options as ``{"data.ways": 5, ...}``, as they are typed."""
    if not isinstance(options, dict):
        return {prefix: options}
    return {
        name: value
        for key, nested in options.items()
        for name, value in flat(nested, f"{prefix}.{key}".replace(".init_args", "").lstrip(".")).items()
    }


def monitored(module: LightningModule) -> str:
    """What tells a better learner from a worse one while it is trained."""
    return f"val/{module.objective.metric}" if isinstance(module, EpisodicModule) else "val/accuracy"


class RunRecord(SaveConfigCallback):
    """Keeps the resolved options: beside the logs, in TensorBoard, and in every checkpoint."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes nothing yet: model and data may still refuse to run."""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the options of a training."""
        self.save_config(trainer, pl_module, "fit")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the outer step that training starts from: not 0 if it is resumed."""
        if trainer.logger:
            trainer.logger.log_metrics({STARTED_AT: trainer.global_step}, trainer.global_step)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the options of a test."""
        self.save_config(trainer, pl_module, "test")

    @staticmethod
    def began(logger: TensorBoardLogger) -> bool:
        """Whether a run came so far as to keep its options."""
        return Path(logger.log_dir, "config.yaml").exists()

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes the options to ``config.yaml`` beside the logs, and to TensorBoard's text and hparams tabs."""
        if not trainer.is_global_zero or not isinstance(trainer.logger, TensorBoardLogger):
            return
        text = self.parser.dump(self.config)
        folder = Path(trainer.logger.log_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(text)
        writer = trainer.logger.experiment
        writer.add_text("config", f"```yaml\n{text}\n```")
        # add_hparams would open a run of its own, and Lightning would log a metric of its own.
        values = {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in flat(self._options()).items()
        }
        for summary in hparams(values, {monitored(pl_module): 0.0}):
            writer._get_file_writer().add_summary(summary)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets the checkpoint know its model and its data."""
        checkpoint[KEY] = {"version": __version__, "name": self.config.name, "config": self._options()}

    def _options(self) -> dict[str, Any]:
        options = json.loads(self.parser.dump(self.config, format="json"))
        return {part: options[part] for part in ("model", "data")}


class EpisodeFigure(Callback):
    """Draws one validation episode and its predictions for TensorBoard, after each validation."""

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Episode,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws the first task of the first meta-batch; of a regression, the first four."""
        if batch_idx == 0 and trainer.is_global_zero and isinstance(trainer.logger, TensorBoardLogger):
            if batch.query.x.shape[2:] == batch.query.y.shape[2:] == (1,):  # a function of one number
                fits = {"before": outputs.get("before"), "after": outputs["outputs"]}
                drawn = {name: values for name, values in fits.items() if values is not None}
                figure = fits_grid(batch.split(4)[0], {"": drawn})
            elif batch.query.x.ndim != 5:
                return
            else:
                figure = episode_figure(batch, outputs["outputs"].argmax(-1))
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
        rates = getattr(pl_module, "inner_rates", None)
        if isinstance(rates, InnerRates) and trainer.logger:
            scalars = {f"inner_lr/{name}": value.item() for name, value in rates.named_scalars().items()}
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


class Report(Callback):
    """Prints the result of a test as a table and writes it to ``test.json`` beside the logs."""

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reports."""
        if not trainer.is_global_zero:
            return
        report = self.report(trainer)
        console = Console()
        console.print(self._table(report))
        if trainer.log_dir:
            path = Path(trainer.log_dir, "test.json")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(report, indent=2) + "\n")
            console.print(f"Report: {path}", soft_wrap=True)

    @staticmethod
    def report(trainer: Trainer) -> dict[str, Any]:
        """Everything that a figure needs to be quoted: accuracies are 0 to 1, and go by ``metric``'s name."""
        module, data = trainer.lightning_module, trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(module, EpisodicModule)
        assert isinstance(data, EpisodicDataModule)
        metrics = {
            name.removeprefix("test/"): value.item()
            for name, value in trainer.callback_metrics.items()
            if name.startswith("test/")
        }
        metric = module.objective.metric
        return {
            "algorithm": type(module).__name__,
            "metric": metric,
            metric: metrics.pop(metric),
            "std": metrics.pop(f"{metric}_std"),
            "ci95": metrics.pop(f"{metric}_ci95"),
            **metrics,
            **data.describe(),
            **module.describe(),
            "checkpoint": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
        }

    @staticmethod
    def _table(report: dict[str, Any]) -> Table:
        metric, show = report["metric"], BY_METRIC[report["metric"]].show
        ways = f"{report['ways']}-way " if "ways" in report else ""
        title = f"{report['algorithm']}, {ways}{report['shots']}-shot, split {report['split']}"
        table = Table(title=title, show_header=False)
        table.add_row(metric, show(report[metric], report["ci95"]), style="bold")
        table.add_row("standard deviation", show(report["std"]))
        if f"{metric}_before" in report:
            table.add_row("before adaptation", show(report[f"{metric}_before"]))
        table.add_row("loss", f"{report['loss']:.4f}")
        table.add_row(
            "episodes", f"{report['episodes']} with {report['queries']} queries{' per class' if ways else ''}"
        )
        table.add_row("adaptation steps", str(report.get("adaptation_steps") or "none"))
        table.add_row("batch norm", report.get("batch_norm", "none"))
        table.add_row("checkpoint", report["checkpoint"] or "none: untrained weights")
        return table
