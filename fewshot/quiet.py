"""Keeps the libraries from telling a user what he can do nothing about."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

HINTS = (
    "The '.*' does not have many workers",
    "The .grad attribute of a Tensor that is not a leaf",
    "`isinstance.treespec, LeafSpec.` is deprecated",
    "The number of training batches .* is smaller than the logging interval",
    "Be aware that when using `ckpt_path`, callbacks used to create the checkpoint",
    "Checkpoint directory .* exists and is not empty",
    "It is recommended to use `self.log.*sync_dist=True",  # of what all processes know already
    "Found .* module.* in eval mode at the start of training",  # the batch norms of a frozen backbone
    "Image size .* exceeds limit of .* pixels, could be decompression bomb",  # read_picture refuses what is too large
)
NOISE = (
    "💡 Tip",
    "Seed set to",
    "GPU available",
    "TPU available",
    "HPU available",
    "Automatic Mixed Precision (AMP)",
    "was configured so validation will run after every batch",
    "LOCAL_RANK: ",
    "`Trainer.fit` stopped: `max_steps",
    "Restoring states from the checkpoint",
    "Restored all states from the checkpoint",
    "Loaded model weights from the checkpoint",
    "Forcefully terminating all other processes",  # one of several processes has failed, and has said why
)
LIGHTNING = logging.getLogger("pytorch_lightning.utilities.rank_zero")
FABRIC = [logging.getLogger(f"lightning_fabric.{name}") for name in ("utilities.rank_zero", "utilities.seed")]


def hide_hints() -> None:
    """Hides hints, advertisements, and what the main thread says anyway."""
    for hint in HINTS:
        warnings.filterwarnings("ignore", f".*{hint}")
    for logger in (LIGHTNING, *FABRIC, logging.getLogger("lightning_fabric.strategies.launchers.subprocess_script")):
        logger.addFilter(_is_no_noise)
    threading.excepthook = _tell_of_thread


@contextmanager
def quietly() -> Iterator[None]:
    """Hides Lightning's lines on the device and the checkpoint, too, where they would come again and again."""
    level = LIGHTNING.level
    LIGHTNING.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LIGHTNING.setLevel(level)


def _is_no_noise(line: logging.LogRecord) -> bool:
    return not any(noise in str(line.msg) for noise in NOISE)


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Shows why a thread failed, unless files cannot be written: the main thread tells that."""
    if not isinstance(failed.exc_value, OSError):
        threading.__excepthook__(failed)
