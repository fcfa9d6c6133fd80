"""The folder of a run's checkpoints: one process writes to it, and nothing finished is replaced without a word."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_warn

from fewshot.checkpoints import read_checkpoint
from fewshot.errors import FewShotError
from fewshot.runs.keeping import BEST, LAST
from fewshot.runs.resuming import Begun


@contextmanager
def claimed(folder: Path, begun: Begun | None, overwrite: bool) -> Iterator[None]:
    """Keeps other processes out of a folder, and refuses to replace checkpoints that are not the run's own.

    The lock is on the folder itself: it ends with the process, however that ends, and leaves nothing behind.

    Args:
        folder: It is made, and removed again if it stays empty.
        begun: The checkpoint that the run goes on from.
        overwrite: Whether the user agreed to lose what is there.

    Raises:
        FewShotError: If another process writes there, or the folder holds another run, or one that has come further.
    """
    new = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    lock = _lock(folder)
    try:
        if not overwrite:
            _check(folder, begun)
        for part in folder.glob(".*.part"):  # of a run that was killed while it wrote
            part.unlink()
        yield
    finally:
        with suppress(OSError):  # only an empty folder can be removed
            for parent in new:
                parent.rmdir()
        os.close(lock)


def _lock(folder: Path) -> int:
    """Opens and locks the folder."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise FewShotError(
                f"another run is writing to {folder} at this moment: wait for its end, or give this one its own --name"
            ) from None
        except OSError as error:
            rank_zero_warn(f"{folder} cannot be locked ({error.strerror}): see to it that no other run writes there.")
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), os.stat(folder)):
                return lock
        os.close(lock)  # whoever had it has just removed it


def _check(folder: Path, begun: Begun | None) -> None:
    """Refuses to begin where that would replace what is not the run's own."""
    last = folder / LAST
    there = [name for name in (LAST, BEST) if (folder / name).exists()]
    if not there:
        return
    if begun is None or Path(begun.path).parent.resolve() != folder.resolve():
        go_on = f"--ckpt_path {folder / there[0]} goes on with it, "
        raise FewShotError(
            f"{folder} holds {' and '.join(there)} of an earlier run: {go_on}--overwrite true begins anew and "
            "replaces it, --name NAME gives this run its own folder"
        )
    try:
        further = read_checkpoint(last)["global_step"] if last.exists() else 0
    except FewShotError:  # damaged: the user resumes from another one for a reason
        return
    if further > begun.steps:
        raise FewShotError(
            f"{last} has taken {further} outer steps, {begun.path} {begun.steps}: resume from {LAST}, or go back and "
            "lose the rest by --overwrite true"
        )
