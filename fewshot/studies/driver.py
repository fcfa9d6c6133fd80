"""What whole studies share: trainings that are not done twice, and their curves."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from fewshot.checkpoints import read_checkpoint
from fewshot.evaluation import curves
from fewshot.evaluation.curves import file_of
from fewshot.runs import run
from fewshot.shipped import config_path


def config_of(name: str, configs: Path | None) -> Path:
    """The config of a run: in a folder, or of those that come with fewshot."""
    return config_path(name if configs is None else configs / f"{name}.yaml")


def train(name: str, config: Path, options: Mapping[str, str], folder: Path, max_steps: int | None) -> None:
    """Trains a learner, or what is missing of it.

    Args:
        name: Of the run.
        config: Its config file.
        options: What it changes of that, as in ``{"model.inner_lr": "0.4"}``.
        folder: Where checkpoints/ and logs/ are.
        max_steps: Outer steps, if they are to be fewer.
    """
    configured = options.get("trainer.max_steps") or yaml.safe_load(config.read_text())["trainer"]["max_steps"]
    steps = int(configured) if max_steps is None else max_steps
    words = ["fit", f"--config={config}", f"--name={name}", f"--trainer.default_root_dir={folder}"]
    words += [*(f"--{option}={value}" for option, value in options.items()), f"--trainer.max_steps={steps}"]
    last = folder / "checkpoints" / name / "last.ckpt"
    if last.exists():
        if read_checkpoint(last)["global_step"] >= steps:
            print(f"{last} is trained already; without it, its training begins anew.")
            return
        words.append(f"--ckpt_path={last}")
    print("$ fewshot", *words, flush=True)
    run(words)


def best(folder: Path, names: Sequence[str]) -> list[Path]:
    """The checkpoints of the best validation of some runs."""
    return [folder / "checkpoints" / name / "best.ckpt" for name in names]


def draw(names: Sequence[str], folder: Path, picture: Path, tag: str = "val/accuracy", smoothing: float = 0.6) -> None:
    """Lays the training curves of some runs over one another."""
    place = folder / "results" / "curves" / picture.stem
    curves([folder / "logs" / name for name in names], tag=tag, smoothing=smoothing, folder=place)
    shutil.copy(place / f"{file_of(tag)}.png", picture)
