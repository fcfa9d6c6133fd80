"""Checkpoint files: written whole or not at all, read without executing code, with errors that say what is wrong."""

import io
import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_info

from fewshot.errors import FewShotError
from fewshot.objectives import Objective

KEY = "fewshot"
"""Where a checkpoint keeps the run's name and its ``model`` and ``data`` options."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Loads a checkpoint on the CPU without executing code from it.

    Raises:
        FewShotError: If there is no such file, or it is no checkpoint of fewshot.
    """
    if not path or not Path(path).is_file():
        folder = Path(path) if Path(path).is_dir() else Path(path).parent
        there = ", ".join(sorted(str(file) for file in folder.glob("*.ckpt")))
        hint = f"in {folder} there are {there}" if there else "fewshot fit writes some to checkpoints/<name>/"
        raise FewShotError(f"there is no checkpoint file {str(path)!r}; {hint}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError, BadZipFile):
        raise FewShotError(f"{path} is no checkpoint, or a damaged one") from None
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise FewShotError(f"{path} is a checkpoint, but not one that fewshot fit wrote")
    return checkpoint


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file and then replaces it: a full disk or a killed run leaves the old one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            FewShotError: If it cannot be written.
        """
        path = Path(path)
        temporary = path.with_name(f".{path.name}.part")
        content = io.BytesIO()  # saved to a file, torch would hide what the disk says
        torch.save(checkpoint, content)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content.getvalue())
            os.replace(temporary, path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise FewShotError(
                f"the checkpoint {path} cannot be written ({error}): make room, or write it elsewhere"
            ) from None

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Reads a checkpoint; see :func:`read_checkpoint`."""
        return read_checkpoint(path)


class BestCheckpoint(ModelCheckpoint):
    """Keeps the state of the best validation in ``best.ckpt``: the highest accuracy, or the lowest error.

    Args:
        dirpath: Its folder.
        objective: Says which metric that is.
    """

    def __init__(self, dirpath: str, objective: Objective) -> None:
        mode = "max" if objective.higher_is_better else "min"
        super().__init__(
            dirpath, filename="best", monitor=f"val/{objective.metric}", mode=mode, enable_version_counter=False
        )


class LastCheckpoint(ModelCheckpoint):
    """Keeps the latest state in ``last.ckpt``: after each validation, and at the end of training.

    ``ModelCheckpoint(save_last=True)`` would renew it only when the best one is renewed.

    Args:
        dirpath: Its folder.
    """

    def __init__(self, dirpath: str) -> None:
        super().__init__(dirpath, filename="last", save_on_train_epoch_end=False, enable_version_counter=False)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tells what will be replaced."""
        last = Path(self.dirpath or ".", "last.ckpt")
        if trainer.ckpt_path is None and last.exists():
            rank_zero_info(
                f"{last.parent} holds an earlier run, whose checkpoints will be replaced. (--ckpt_path {last} would "
                "resume it; --name would give this run its own folder.)"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the outer steps since the last validation."""
        if self._last_global_step_saved != trainer.global_step:
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))
