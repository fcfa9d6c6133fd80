"""What a run says while it trains: what begins, how long it will take, how far it is."""

import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn

from fewshot.algorithms import EpisodicModule
from fewshot.data import EpisodicDataModule
from fewshot.runs.outcome import nearby
from fewshot.terminal import console

STEPS_TO_TIME = 10
"""Outer steps after which a run says how long it will take; the first is not timed."""

SECONDS_BETWEEN_LINES = 180
SECONDS_BETWEEN_READINGS = 0.5
"""Of the values in the bar: reading them waits for the device."""

SHORT = {"train/loss": "loss", "train/accuracy": "acc", "train/mse": "mse", "val/accuracy": "val", "val/mse": "val"}
"""What is shown of what is logged, and how it is called where space is short."""


class Introduction(Callback):
    """Says before the first outer step what is trained on what, and after some how long it will take.

    Args:
        checkpoints: Where they go; ``None`` if there are to be none.
    """

    def __init__(self, checkpoints: Path | None) -> None:
        self.checkpoints = checkpoints
        self.first = 0
        self.since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says what begins."""
        self.first = trainer.global_step
        if not trainer.is_global_zero or not isinstance(pl_module, EpisodicModule):
            return
        print(_what(trainer, pl_module))
        kept = "none" if self.checkpoints is None else nearby(self.checkpoints)
        logs = nearby(trainer.log_dir) if trainer.logger and trainer.log_dir else "none"
        print(f"Checkpoints: {kept}; logs: {logs}", flush=True)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Says how long it will take."""
        taken = trainer.global_step - self.first
        if taken == 1 and not self.since:
            self.since = time.monotonic()
        remaining = trainer.max_steps - trainer.global_step
        if taken == STEPS_TO_TIME and remaining > 0 and trainer.is_global_zero:
            seconds = (time.monotonic() - self.since) / (STEPS_TO_TIME - 1)
            print(f"{remaining} outer steps to go: about {duration(seconds * remaining)}, and validations.", flush=True)
            self.first = -trainer.max_steps  # once


def _what(trainer: Trainer, module: EpisodicModule) -> str:
    """What is trained on what: one line."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    if not isinstance(data, EpisodicDataModule):
        return f"{module.title}: {trainer.max_steps} outer steps."
    ways = getattr(data, "ways", None)
    tasks = f"{ways}-way {data.shots}-shot" if ways else f"{data.shots} points"
    device = "the CPU" if module.device.type == "cpu" else torch.cuda.get_device_name(module.device)
    begins = f"{trainer.global_step} to {trainer.max_steps}" if trainer.global_step else str(trainer.max_steps)
    return (
        f"{module.title} on {data.split_name()}, {tasks}: {begins} outer steps of {data.meta_batch_size} "
        f"{'task' if data.meta_batch_size == 1 else 'tasks'}, on {device}."
    )


def duration(seconds: float) -> str:
    """A time as people say it."""
    for unit, length in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(1, seconds):.0f} seconds"


def on_a_terminal() -> bool:
    """Whether a bar can move: not where the output goes to a file."""
    return console().is_terminal or console().is_jupyter


class ProgressBar(RichProgressBar):
    """A bar that counts the outer steps of the whole run, with the latest loss and metric: one line of 80 columns."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=5)
        self.read = 0.0
        self.shown: dict[str, Any] = {}

    @property
    def total_train_batches(self) -> int | float:
        """All outer steps of a resumed run, not only those that remain."""
        return self.trainer.max_steps

    def configure_columns(self, trainer: Trainer) -> list[ProgressColumn]:
        """What is in the line, before the values."""
        return [
            TextColumn("{task.description}"),
            BarColumn(bar_width=10),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        ]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar to the outer step."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, trainer.global_step - 1)

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training  "

    @property
    def validation_description(self) -> str:
        """What stands before the bar of a validation."""
        return "Validating"

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """What is shown behind the bar."""
        if time.monotonic() - self.read > SECONDS_BETWEEN_READINGS:
            self.shown |= {SHORT[name]: value for name, value in values(trainer).items()}
            self.read = time.monotonic()
        return self.shown


class ProgressLines(Callback):
    """Where no bar can move, as under nohup: a line after each validation, and every three minutes."""

    def __init__(self) -> None:
        self.said = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        """Says how far it is, if nothing was said for long."""
        if time.monotonic() - self.said > SECONDS_BETWEEN_LINES:
            self._say(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says how far it is."""
        self._say(trainer)

    def _say(self, trainer: Trainer) -> None:
        self.said = time.monotonic()
        if trainer.is_global_zero:
            said = ", ".join(f"{name} {value}" for name, value in values(trainer).items())
            print(f"Outer step {trainer.global_step} of {trainer.max_steps}: {said}", flush=True)


def values(trainer: Trainer) -> dict[str, str]:
    """The latest values of training and validation, as they are shown, by the names that they are logged under."""
    logged = trainer.callback_metrics
    return {name: f"{logged[name].item():.3f}" for name in SHORT if name in logged}
