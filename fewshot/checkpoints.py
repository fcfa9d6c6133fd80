"""Checkpoint files: written whole or not at all, read with their checksums and without executing code."""

import io
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO
from torch import Tensor

from fewshot.errors import FewShotError, did_you_mean
from fewshot.files import write_bytes
from fewshot.shipped import checkpoint_names, checkpoint_path
from fewshot.translations import translate
from fewshot.trust import options_of

KEY = "fewshot"
"""Where a checkpoint keeps the version, the run's name, its options, and the number of the head's outputs."""


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Loads a checkpoint on the CPU without executing code from it, in today's words if it is of an earlier version.

    Args:
        path: Of the file, or the name of one that comes with fewshot, such as ``pretrained/maml_5w1s``.

    Raises:
        FewShotError: If there is no such file, it is damaged, or it is no checkpoint of fewshot.
    """
    asked, path = path, checkpoint_path(path)
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        there = ", ".join(sorted(str(file) for file in folder.glob("*.ckpt")))
        own = (str(file) for file in Path("checkpoints").glob("*/*.ckpt"))
        hint = did_you_mean(str(asked), ["last", *checkpoint_names(), *own])
        hint = hint or (f"; in {folder} there are {there}" if there else "")
        raise FewShotError(
            f"there is no checkpoint file {str(asked)!r}{hint or '; fewshot fit writes some to checkpoints/<name>/'}"
        )
    checkpoint = _load(path)
    if not isinstance(checkpoint, dict) or KEY not in checkpoint:
        raise FewShotError(f"{path} is a checkpoint, but not one that fewshot fit wrote")
    wrong = _malformed(checkpoint)
    if wrong:
        raise FewShotError(f"{path} is a checkpoint, but its {wrong} is not as fewshot fit writes it")
    translate(checkpoint, checkpoint[KEY])
    return checkpoint


def _load(path: Path) -> Any:
    """What torch reads, after every checksum of the archive was compared."""
    damaged = FewShotError(f"{path} is no checkpoint, or a damaged one")
    try:
        if not zipfile.is_zipfile(path):
            raise damaged
        content = path.read_bytes()
    except OSError as error:
        raise FewShotError(f"{path} cannot be read ({error.strerror})") from None
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
            if packed or archive.testzip() is not None:  # torch packs nothing, and compares no checksum itself
                raise damaged
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # damaged bytes raise nearly everything in the readers of zip, pickle and tensors
        raise damaged from None


def _malformed(checkpoint: dict[str, Any]) -> str | None:
    """The first part of a checkpoint that is missing or of another kind, if any is."""

    def is_part(part: Any) -> bool:
        return (
            isinstance(part, dict)
            and isinstance(part.get("class_path"), str)
            and re.fullmatch(r"[\w.]+", part["class_path"]) is not None
            and isinstance(part.setdefault("init_args", {}), dict)  # a class without options has none
        )

    record, weights = checkpoint[KEY], checkpoint.get("state_dict")
    if not isinstance(record, dict):
        return "record"
    config = record.get("config")
    checks = {
        "version": isinstance(record.get("version"), str),
        "name": isinstance(record.get("name"), str) and re.fullmatch(r"\w[\w.-]*", record["name"]),
        "number of outputs": isinstance(record.setdefault("outputs", None), int | None),
        "options": isinstance(config, dict) and all(is_part(config.get(part)) for part in ("model", "data")),
        "state_dict": isinstance(weights, dict) and all(isinstance(value, Tensor) for value in weights.values()),
        **{name: isinstance(checkpoint.get(name), int) and checkpoint[name] >= 0 for name in ("epoch", "global_step")},
        "algorithm": isinstance(checkpoint.get("algorithm"), str),
        "training_only": isinstance(only := checkpoint.setdefault("training_only", []), list)
        and all(isinstance(name, str) for name in only),
        "pytorch-lightning_version": isinstance(checkpoint.get("pytorch-lightning_version"), str),
    }
    return next((part for part, fits in checks.items() if not fits), None)


def not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor that holds a number that is not finite, if any does."""
    return next((name for name, value in tensors.items() if not value.isfinite().all()), None)


def refuse_another(checkpoint: dict[str, Any], algorithm: str, title: str, state: Mapping[str, Tensor]) -> None:
    """Refuses the checkpoint of another algorithm or another network, and weights that are not finite.

    Args:
        checkpoint: What :func:`read_checkpoint` reads.
        algorithm: The name of the learner's class.
        title: What to call the learner.
        state: Its weights, whose shapes are compared.

    Raises:
        FewShotError: With the first difference.
    """
    theirs = checkpoint.get("algorithm", "no algorithm of fewshot")
    if theirs != algorithm:
        raise FewShotError(f"the checkpoint holds {theirs}, not {algorithm}: test or resume it as that")
    saved, own = (
        {name: tuple(value.shape) for name, value in weights.items()} for weights in (checkpoint["state_dict"], state)
    )
    for name in [*own, *saved]:
        there, here = saved.get(name), own.get(name)
        if name == "network.head.weight" and there and here and there[1:] == here[1:] and there != here:
            raise FewShotError(
                f"{title}'s head has {there[0]} outputs in the checkpoint and {here[0]} here: keep the "
                "--data.ways and --data.test_ways of its training"
            )
        if there != here:
            backbone = backbone_folder(checkpoint)
            give = f", and give the folder of its backbone: --model.network.backbone {backbone}" if backbone else ""
            raise FewShotError(
                f"the checkpoint is of another network: {name} has shape {there or 'none'} there and "
                f"{here or 'none'} here. Keep the checkpoint's network and --data.ways{give}"
            )
    wild = not_finite(checkpoint["state_dict"])
    if wild:
        raise FewShotError(f"the checkpoint's {wild} is not finite: its training diverged, and it has no figures")


def model_options(checkpoint: dict[str, Any], trusted: Collection[str] = (), **changes: Any) -> dict[str, Any]:
    """The class and the options of a checkpoint's learner, as jsonargparse takes them, some of them changed.

    Raises:
        FewShotError: If a class is neither one of fewshot nor trusted; see :func:`fewshot.trust.options_of`.
    """
    record = checkpoint[KEY]
    model = options_of(record["config"], trusted, ["model"])[0]["model"]
    outputs = (
        {} if record["outputs"] is None else {"outputs": record["outputs"]}
    )  # linked to the data on the command line
    return {"class_path": model["class_path"], "init_args": {**model["init_args"], **outputs, **changes}}


def backbone_folder(checkpoint: dict[str, Any]) -> str | None:
    """The folder of the checkpoint's backbone, if it is of one: a checkpoint may not name what is read."""
    network = checkpoint[KEY]["config"]["model"]["init_args"].get("network")
    options = network.get("init_args") if isinstance(network, dict) else None
    backbone = options.get("backbone") if isinstance(options, dict) else None
    return backbone if isinstance(backbone, str) and "/" in backbone else None


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
