"""Fewshot's contestants: the command line, ``fit`` and then ``test``, with a callback that keeps the record."""

import json
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from benchmarks.race.record import Record, read

ROOT = Path(__file__).parents[2]


class Recipe(NamedTuple):
    """A training: its options, its length, and how often it is validated on the way."""

    options: str
    steps: int
    validations: int


MAML = "--config=omniglot_maml"
PROTONET = (
    "--config=omniglot_protonet --model.network.downsample=stride --model.network.cells=2 --model.meta_lr=0.003 "
    "--data.mirrors=false"
)
RECIPES = {  # a step of MAML takes some 80 ms of two threads, one of ProtoNet some 60
    "fewshot-maml": Recipe(MAML, 9000, 36),
    "fewshot-maml-short": Recipe(MAML, 3400, 14),
    "fewshot-protonet": Recipe(PROTONET, 11000, 30),
    "fewshot-protonet-short": Recipe(PROTONET, 3000, 9),
}


class Referee(Callback):
    """Keeps the record of a training, and a checkpoint of each state that is to be tested.

    Args:
        file: Of the record; the checkpoints go beside it.
        started: When the process was started.
        until: Validation accuracy that ends the training.
    """

    def __init__(self, file: str, started: float, until: float = 1.0) -> None:
        self.record = Record(Path(file), started, threads=torch.get_num_threads())
        self.until = until
        self.pause = ExitStack()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self.seconds = self.record.seconds()
        self.pause.enter_context(self.record.stopped())

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the validation down and lets the clock go on."""
        accuracy = trainer.callback_metrics["val/accuracy"].item()
        for name in self.record.validated(self.seconds, trainer.global_step, accuracy):
            trainer.save_checkpoint(checkpoint(self.record.file, name), weights_only=False)
        if accuracy >= self.until:
            trainer.should_stop = True
        self.pause.close()


def checkpoint(file: Path, name: str) -> Path:
    """Where the state of a record lies."""
    return file.with_name(file.stem) / f"{name}.ckpt"


def command(words: list[str]) -> None:
    """Runs ``fewshot`` in a process of its own."""
    subprocess.run([sys.executable, "-m", "fewshot", *words], check=True, cwd=ROOT)


def train(name: str, file: Path, minutes: float, until: float, steps: int | None, every: float) -> None:
    """Trains a contestant and tests its states.

    Args:
        name: Of the contestant.
        file: Of its record.
        minutes: Limit of the training, validations included.
        until: Validation accuracy that ends the training.
        steps: Outer steps in place of the recipe's.
        every: Unused: a recipe says how often it is validated, in outer steps.

    Raises:
        SystemExit: If the limit came before the first validation.
    """
    file, recipe = file.absolute(), RECIPES[name]
    steps = recipe.steps if steps is None else steps
    place = file.with_name(file.stem)
    shutil.rmtree(place, ignore_errors=True)  # of a start that was cut off
    place.mkdir(parents=True)
    words = ["fit", *recipe.options.split(), f"--trainer.default_root_dir={place}", "--trainer.accelerator=cpu"]
    words += [f"--trainer.max_steps={steps}", f"--trainer.val_check_interval={max(1, steps // recipe.validations)}"]
    words += [f"--trainer.max_time={_clock(minutes)}", "--trainer.callbacks+=benchmarks.race.ours.Referee"]
    words += [f"--trainer.callbacks.file={file}", f"--trainer.callbacks.until={until}"]
    file.unlink(missing_ok=True)
    command([*words, f"--trainer.callbacks.started={time.time()}"])
    content = read(file)
    if content is None:
        raise SystemExit(
            f"{name} was not validated within {minutes:g} minutes: give it more --minutes, or fewer --steps"
        )
    test(file, content)


def test(file: Path, content: dict[str, Any]) -> None:
    """Tests the states of a record."""
    record = Record(file, 0.0)
    record.content = content
    for name in content["states"]:
        place = checkpoint(file, name).with_name(f"test_{name}")
        state = f"--ckpt_path={checkpoint(file, name)}"
        command(["test", state, f"--trainer.default_root_dir={place}", "--trainer.accelerator=cpu"])
        (report,) = (json.loads(path.read_text()) for path in place.rglob("test.json"))
        record.tested(name, report["accuracy"], report["ci95"])
    record.finish()


def _clock(minutes: float) -> str:
    """As Lightning takes a time: days, hours, minutes, seconds."""
    left = timedelta(minutes=minutes)
    hours, seconds = divmod(left.seconds, 3600)
    return f"{left.days:02}:{hours:02}:{seconds // 60:02}:{seconds % 60:02}"
