"""What a training says when it ends: what was kept, and the commands that go on from there."""

import os
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from fewshot.errors import FewShotError
from fewshot.runs.keeping import LAST, BestCheckpoint
from fewshot.runs.options import flat
from fewshot.runs.words import value_of, without
from fewshot.signals import Stopped
from fewshot.trust import options_of, trusted_by


def kept(best: BestCheckpoint | None) -> str:
    """Where the best state is, and how good that is; nothing if there was no validation."""
    if best is None or best.best_model_score is None:
        return ""
    return f"Best: {best.monitor} {best.best_model_score:.4f} in {nearby(best.best_model_path)}\n"


def next_commands(
    module: LightningModule, trainer: Trainer, checkpoint: Path, words: Sequence[str], options: dict[str, Any]
) -> str:
    """The commands that test what was trained, and that show it.

    Args:
        module: What was trained.
        trainer: By what.
        checkpoint: What was kept.
        words: What the user has typed.
        options: Those of model and data that it came to.
    """
    trusted, typed = trusted_by(words), set(re.findall(r"[\w.]+", value_of("--trust", words) or ""))
    homes = {type(module).__module__, *(name.rpartition(".")[0] for name in trusted - typed)}
    own = {home for home in homes if home and home.partition(".")[0] not in ("fewshot", "torch", "torchvision")} | typed
    test = ["fewshot", "test", "--ckpt_path", nearby(checkpoint)]
    with suppress(FewShotError):  # of a class that the checkpoint may not name: the test will tell
        given = flat(options)
        for name in options_of(options, trusted | own)[1]:  # which a checkpoint does not know
            option = name.replace(".init_args", "")
            test += [f"--{option}", given[option]] if option in given else []
    test += ["--trust", f"[{','.join(sorted(own))}]"] if own else []
    lines = [f"Test it: {shlex.join(test)}"]
    if isinstance(trainer.logger, TensorBoardLogger):
        run = Path(trainer.logger.log_dir).parents[1]  # logs/<name>/fit/version_<n>
        lines.append(f"Show it: fewshot curves --runs {shlex.quote(f'[{nearby(run)}]')}")
        lines.append(f"         tensorboard --logdir {shlex.quote(nearby(run.parent))}")
    return "\n".join(lines)


def how_to_go_on(stopped: Stopped, saved: int, folder: Path, words: Sequence[str]) -> str:
    """What a training that was told to end has kept, and the command that goes on.

    Args:
        stopped: By what it was ended.
        saved: The outer steps that it has taken and saved; 0 if it has saved nothing.
        folder: Of its checkpoints.
        words: What the user has typed.
    """
    last = folder / LAST
    told = f"Stopped by {stopped.signal.name}"
    if not saved:
        return f"{told} before anything was saved{f': {last} is as it was' if last.exists() else ''}."
    go_on = ["fewshot", *without(words, "--ckpt_path", "--overwrite"), "--ckpt_path", str(last)]
    return f"{told} after outer step {saved}, which {last} holds.\nTo go on: {shlex.join(go_on)}"


def nearby(path: str | Path) -> str:
    """A path as one would type it: from the current folder, if it is in there."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
