"""What whole studies share: trainings that are not done twice, and their curves."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fewshot.checkpoints import read_checkpoint
from fewshot.errors import FewShotError
from fewshot.evaluation import curves
from fewshot.evaluation.curves import file_of
from fewshot.files import make_folder, write_json
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
        folder: Where checkpoints/ and logs/ are; what a run was asked for is kept in checkpoints/<name>.json.
        max_steps: Outer steps, if they are to be fewer.

    Raises:
        FewShotError: If the folder holds a run of that name with other options or more outer steps.
    """
    configured = yaml.safe_load(config.read_text())
    steps = max_steps
    if steps is None:
        steps = int(options.get("trainer.max_steps") or configured["trainer"]["max_steps"])
    own, note = folder / "checkpoints" / name, folder / "checkpoints" / f"{name}.json"
    asked = {"config": configured, "options": {**options, "data.root": None}}  # wherever the images lie
    taken = read_checkpoint(own / "last.ckpt")["global_step"] if (own / "last.ckpt").exists() else 0
    way_out = "remove it, or give the study another --folder"
    if any(own.glob("*.ckpt")) and _noted(note) != asked:
        raise FewShotError(f"{own} holds a training with other options, or of an earlier fewshot: {way_out}")
    if taken > steps:
        raise FewShotError(f"{own} holds a training of {taken} outer steps, not {steps}: {way_out}")
    if taken == steps:
        print(f"{own} is trained already; without it, its training begins anew.")
        return
    make_folder(note.parent)
    write_json(note, asked)
    words = ["fit", f"--config={config}", f"--name={name}", f"--trainer.default_root_dir={folder}"]
    words += [*(f"--{option}={value}" for option, value in options.items()), f"--trainer.max_steps={steps}"]
    words.append("--ckpt_path=last")
    print("$ fewshot", *words, flush=True)
    run(words)


def _noted(file: Path) -> Any:
    """What a training was asked for, if that is known."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None


def best(folder: Path, names: Sequence[str]) -> list[Path]:
    """The checkpoints of the best validation of some runs."""
    return [folder / "checkpoints" / name / "best.ckpt" for name in names]


def draw(names: Sequence[str], folder: Path, picture: Path, tag: str = "val/accuracy", smoothing: float = 0.6) -> None:
    """Lays the training curves of some runs over one another."""
    place = folder / "results" / "curves" / picture.stem
    curves([folder / "logs" / name for name in names], tag=tag, smoothing=smoothing, folder=place)
    shutil.copy(place / f"{file_of(tag)}.png", picture)
