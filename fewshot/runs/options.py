"""The options of a run: beside its logs, in TensorBoard, and in its checkpoints."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.tensorboard.summary import hparams

from fewshot import __version__
from fewshot.algorithms import EpisodicModule
from fewshot.checkpoints import KEY
from fewshot.data import EpisodicDataModule
from fewshot.evaluation.curves import LEARNER, STARTED_AT
from fewshot.files import write_json, write_text

COMPARED = (
    "data.ways", "data.shots", "model.inner_lr", "model.meta_lr", "model.adaptation_steps", "model.batch_norm",
    "data.meta_batch_size", "data.seed",
)  # fmt: skip
"""The options that a table of hyperparameters has columns for; all of them are in its text."""

TRAINER = ("max_steps", "precision", "gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches")
"""The options of the Trainer that make another recipe of a training."""


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


class SaveOptions(SaveConfigCallback):
    """Keeps the resolved options: beside the logs, in TensorBoard, and in every checkpoint."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tells the learner its options; writes nothing yet, as model and data may still refuse to run."""
        if isinstance(pl_module, EpisodicModule):
            pl_module.options = self._options["model"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps the options of a training."""
        self.save_config(trainer, pl_module, "fit")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the outer step that training starts from: not 0 if it is resumed."""
        if trainer.logger:
            trainer.logger.log_metrics({STARTED_AT: trainer.global_step}, trainer.global_step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Notes beside the logs whether the learner is transductive, for the legends of curves."""
        file = Path(trainer.logger.log_dir, LEARNER) if isinstance(trainer.logger, TensorBoardLogger) else None
        if file and file.parent.exists() and trainer.is_global_zero and isinstance(pl_module, EpisodicModule):
            mode = pl_module.describe().get("batch_norm")
            said = None if mode is None else mode == "transductive"
            known = pl_module.transductive if pl_module.transductive is not None else said
            write_json(file, {"algorithm": pl_module.title, "transductive": known})

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
        write_text(folder / "config.yaml", text)
        writer = trainer.logger.experiment
        writer.add_text("config", f"```yaml\n{text}\n```")
        # add_hparams would open a run of its own, and Lightning would log a metric of its own.
        metric = monitored(pl_module) if stage == "fit" else monitored(pl_module).replace("val/", "test/")
        for summary in hparams(self._compared(trainer, pl_module), {metric: 0.0}):
            writer._get_file_writer().add_summary(summary)

    def _compared(self, trainer: Trainer, module: LightningModule) -> dict[str, bool | int | float | str]:
        """What TensorBoard's table of hyperparameters shows beside the result: what runs are compared by."""
        options = flat(self._options)
        chosen = {name.rpartition(".")[2]: value for name, value in options.items() if name in COMPARED}
        data = trainer.datamodule  # type: ignore[attr-defined]
        described = data.describe() if isinstance(data, EpisodicDataModule) and trainer.state.fn == "test" else {}
        chosen |= {name: described[name] for name in ("ways", "shots") if name in described}
        algorithm = {"algorithm": getattr(module, "title", type(module).__name__)}
        return {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in (algorithm | chosen).items()
            if value is not None
        }

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Lets the checkpoint know its model, its data and how it is trained."""
        outputs = getattr(pl_module, "outputs", None)
        checkpoint[KEY] = {
            "version": __version__,
            "name": self.config.name,
            "config": self._options,
            "trainer": {name: self.config.trainer[name] for name in TRAINER},
            "outputs": outputs if isinstance(outputs, int) else None,
        }

    @cached_property
    def _options(self) -> dict[str, Any]:
        options = json.loads(self.parser.dump(self.config, format="json"))
        return {part: options[part] for part in ("model", "data")}
