"""What a training step costs beside its algorithm: drawing episodes, the Trainer round it, and starting up."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from fewshot.algorithms import MAMLModule
from fewshot.data import EpisodicDataModule
from fewshot.episodes import Episode
from fewshot.networks import Conv4
from fewshot.runs import run

TRAINING = [
    "fit",
    "--model=MAMLModule",
    "--model.network=Conv4",
    "--data=GlyphsDataModule",
    "--data.queries=1",
    "--data.meta_batch_size=32",
    "--trainer.accelerator=cpu",
    "--trainer.callbacks+=benchmarks.pipeline.Stopwatch",
]


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Stopwatch(Callback):
    """Times the steps of a training, and after each of them the same step taken bare, and the drawing of its tasks."""

    def __init__(self) -> None:
        self.trained: list[float] = []
        self.bare: list[float] = []
        self.drawn: list[float] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Makes the twin of the learner."""
        self.twin = MAMLModule(Conv4())
        self.optimizer = torch.optim.Adam(self.twin.parameters())
        self.resumed = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Episode, i: int
    ) -> None:
        """Stops the watch, measures the parts, and lets the training go on."""
        self.trained.append(time.perf_counter() - self.resumed)
        data: EpisodicDataModule = trainer.datamodule  # type: ignore[attr-defined]
        dataset: Any = data.dataset("train")
        tasks = len(batch.query.y)

        def bare() -> None:
            self.optimizer.zero_grad()
            self.twin.outer_loss(batch)[0].backward()
            self.optimizer.step()

        self.bare.append(seconds(bare))
        numbers = range(i * tasks, (i + 1) * tasks)
        self.drawn.append(seconds(lambda: data.on_after_batch_transfer(dataset.__getitems__(numbers), 0)))
        self.resumed = time.perf_counter()


def measure(outer_steps: int, rounds: int) -> dict[str, float]:
    """Median seconds of each part: 5-way 1-shot with one query per class, 32 tasks, 1 step, on built-in glyphs."""
    with tempfile.TemporaryDirectory() as folder:
        cli = run([*TRAINING, f"--trainer.max_steps={outer_steps}", f"--trainer.default_root_dir={folder}"])
    (watch,) = (part for part in cli.trainer.callbacks if isinstance(part, Stopwatch))  # type: ignore[attr-defined]
    start_up = [seconds(lambda: subprocess.run([sys.executable, "-c", "import torch"])) for _ in range(rounds)]
    help_page = [sys.executable, "-m", "fewshot", "--help"]
    shown = [seconds(lambda: subprocess.run(help_page, stdout=subprocess.DEVNULL)) for _ in range(rounds)]
    return {
        "outer step in the Trainer": median(watch.trained),
        "the same step alone": median(watch.bare),
        "the first more than the second": median(a - b for a, b in zip(watch.trained, watch.bare)),
        "drawing its 32 tasks": median(watch.drawn),
        "python -m fewshot --help": median(shown),
        "python -c 'import torch'": median(start_up),
    }
