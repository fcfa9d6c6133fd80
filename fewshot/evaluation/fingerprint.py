"""What a figure is of: fingerprints of the weights, the episodes and the options, and the versions that computed it."""

import hashlib
import platform
from typing import Any

import pytorch_lightning
import torch

from fewshot import __version__
from fewshot.algorithms import EpisodicModule
from fewshot.data import EpisodicDataModule
from fewshot.files import to_json

IDLE = {"meta_lr", "optimizer", "lr_scheduler", "record", "task_chunk_size", "outputs"}
"""The options of learners that change no figure of a test, or stand in the shapes of the weights."""


def versions() -> dict[str, str]:
    """What computes."""
    return {
        "fewshot": __version__,
        "torch": str(torch.__version__),
        "pytorch-lightning": pytorch_lightning.__version__,
        "python": platform.python_version(),
    }


def fingerprint(
    module: EpisodicModule, data: EpisodicDataModule, episodes: int, precision: str
) -> dict[str, str | None]:
    """Sixteen hexadecimal digits each of what decides a test's result, wherever the files are.

    Args:
        module: The learner, with the weights that were tested.
        data: The data that it was tested on, set up.
        episodes: How many episodes were evaluated.
        precision: The Trainer's.

    Returns:
        ``weights``; ``data``: the episodes and their examples; ``options``: how the learner is tested, ``None`` if it
        was not made from options.
    """
    drawn = {**data.describe(), "episodes": episodes, "content": getattr(data, "content", "")}
    return {"weights": weights(module), "data": digest(drawn), "options": _options(module, precision)}


def digest(value: Any) -> str:
    """Fingerprint of what JSON can say; the order of fields does not matter."""
    return hashlib.sha256(to_json(value, sort_keys=True).encode()).hexdigest()[:16]


def weights(module: EpisodicModule) -> str:
    """Fingerprint of all that was learned: names, types, shapes and bytes."""
    hashed = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        hashed.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        hashed.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return hashed.hexdigest()[:16]


def _options(module: EpisodicModule, precision: str) -> str | None:
    if module.options is None:
        return None
    used = {name: value for name, value in module.options.get("init_args", {}).items() if name not in IDLE}
    return digest({"class_path": module.options["class_path"], "init_args": used, "precision": precision})
