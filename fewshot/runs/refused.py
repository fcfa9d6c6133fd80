"""A run that was refused before it began: what it leaves behind, and why."""

import shutil
import traceback
from contextlib import suppress
from pathlib import Path


def remove_empty(log: Path) -> None:
    """Removes the log of a run that did not begin, and those folders above it that are empty."""
    shutil.rmtree(log, ignore_errors=True)
    with suppress(OSError):
        for parent in list(log.parents)[:3]:  # of logs/<name>/fit/version_0
            parent.rmdir()


def while_restoring(error: BaseException) -> bool:
    """Whether Lightning was restoring a checkpoint when an exception was raised."""
    frames = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    return any("restore" in code.co_name and code.co_filename.endswith("checkpoint_connector.py") for code in frames)
