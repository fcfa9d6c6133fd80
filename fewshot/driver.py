"""What the drivers of whole studies share: trainings that are not done twice, pictures and tables."""

import os
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
import yaml

from fewshot.checkpoints import read_checkpoint
from fewshot.cli import run
from fewshot.evaluation import curves


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
            return
        words.append(f"--ckpt_path={last}")
    print("$ fewshot", *words, flush=True)
    run(words)


def draw(names: Sequence[str], folder: Path, picture: Path, tag: str = "val/accuracy", smoothing: float = 0.6) -> None:
    """Lays the training curves of some runs over one another."""
    place = folder / "results" / "curves" / picture.stem
    curves([folder / "logs" / name for name in names], tag=tag, smoothing=smoothing, folder=place)
    shutil.copy(place / "curves.png", picture)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def sections(tables: Mapping[str, str]) -> str:
    """Tables under their titles."""
    return "\n".join(f"## {title}\n\n{table}" for title, table in tables.items())


def hardware() -> str:
    """What this runs on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = models[0] if models else platform.processor() or platform.machine()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{processor}, {os.cpu_count()} cores, {device}, torch {torch.__version__}"
