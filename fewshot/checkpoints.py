"""Checkpoint files: written whole or not at all, read without executing code, with errors that say what is wrong."""

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from fewshot.errors import FewShotError
from fewshot.files import write_bytes
from fewshot.shipped import checkpoint_path
from fewshot.translations import translate

KEY = "fewshot"
"""Where a checkpoint keeps the version, the run's name, its ``model`` and ``data`` options, and the head's outputs."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Loads a checkpoint on the CPU without executing code from it, in today's words if it is of an earlier version.

    Args:
        path: Of the file, or the name of one that comes with fewshot, such as ``pretrained/maml_5w1s``.

    Raises:
        FewShotError: If there is no such file, or it is no checkpoint of fewshot.
    """
    asked, path = path, checkpoint_path(path)
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        there = ", ".join(sorted(str(file) for file in folder.glob("*.ckpt")))
        hint = f"in {folder} there are {there}" if there else "fewshot fit writes some to checkpoints/<name>/"
        raise FewShotError(f"there is no checkpoint file {str(asked)!r}; {hint}")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, KeyError, ValueError, OSError, BadZipFile):
        raise FewShotError(f"{path} is no checkpoint, or a damaged one") from None
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise FewShotError(f"{path} is a checkpoint, but not one that fewshot fit wrote")
    translate(checkpoint, checkpoint[KEY])
    return checkpoint


def model_options(checkpoint: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The class and the options of a checkpoint's learner, as jsonargparse takes them, some of them changed."""
    record = checkpoint[KEY]
    model = record["config"]["model"]
    outputs = (
        {} if record["outputs"] is None else {"outputs": record["outputs"]}
    )  # linked to the data on the command line
    return {"class_path": model["class_path"], "init_args": {**model["init_args"], **outputs, **changes}}


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes beside the old file and then replaces it: a full disk or a killed run leaves the old one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Raises:
            FewShotError: If it cannot be written.
        """
        content = io.BytesIO()  # saved to a file, torch would hide what the disk says
        torch.save(checkpoint, content)
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, content.getvalue())
        except OSError as error:
            raise FewShotError(
                f"the checkpoint {path} cannot be written ({error}): make room, or write it elsewhere"
            ) from None

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Reads a checkpoint; see :func:`read_checkpoint`."""
        return read_checkpoint(path)
