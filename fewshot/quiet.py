"""Keeps the libraries from telling a user what he can do nothing about."""

import logging
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
    "Found .* module.* in eval mode at the start of training",  # the batch norms of a frozen backbone
)
LIGHTNING = logging.getLogger("pytorch_lightning.utilities.rank_zero")


def hide_hints() -> None:
    """Hides hints and advertisements."""
    for hint in HINTS:
        warnings.filterwarnings("ignore", f".*{hint}")
    LIGHTNING.addFilter(_is_no_advertisement)


@contextmanager
def quietly() -> Iterator[None]:
    """Hides Lightning's lines on the device and the checkpoint, too, where they would come again and again."""
    level = LIGHTNING.level
    LIGHTNING.setLevel(logging.WARNING)
    try:
        yield
    finally:
        LIGHTNING.setLevel(level)


def _is_no_advertisement(line: logging.LogRecord) -> bool:
    return "💡 Tip" not in str(line.msg)
