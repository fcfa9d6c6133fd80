"""How a command tells that it failed: by one line, of one process."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from fewshot.errors import FewShotError, gist, one_line
from fewshot.signals import Stopped

TRACEBACK = "FEWSHOT_TRACEBACK"
"""The environment variable that asks for tracebacks."""

PATIENCE = 5.0
"""Seconds that the other processes of a training leave to the first one, to tell of a mistake that all have found."""

PARENT = os.getppid()


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turns what goes wrong into one line on stderr: a user's mistake (exit status 2), or anything else (1).

    Raises:
        SystemExit: In place of it.
    """
    try:
        yield
    except Stopped as stopped:
        if not int(os.environ.get("LOCAL_RANK", 0)):
            print(f"fewshot: stopped by {stopped.signal.name}", file=sys.stderr)
        raise
    except BrokenPipeError:
        raise SystemExit(141) from None  # as SIGPIPE would end it
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        kind = type(error).__name__
        if isinstance(error, FewShotError | OSError) or kind == "MisconfigurationException":  # Lightning's
            advice = "; try cpu as the accelerator" if "backend found" in str(error) else ""
            _leave(f"error: {one_line(str(error))}{advice}", 2)
        _leave(f"error: {kind}: {gist(error).removeprefix(f'{kind}: ')} ({TRACEBACK}=1 shows where)", 1)
    finally:
        _flush()


def _flush() -> None:
    """Writes out what was printed, or gives it up: nobody may be reading on, as behind head."""
    if sys.stdout is None:  # closed by whoever started the process
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _leave(f"error: the output cannot be written ({error})", 2)


def _leave(line: str, status: int) -> NoReturn:
    """Ends the process after a line on stderr, unless another process of the same training has told why."""
    rank = int(os.environ.get("LOCAL_RANK", 0))
    if rank:
        _wait_for_the_first(status)
        line = line.replace("error:", f"error: rank {rank}:", 1)
    told = _status_of_another()
    if told is None:
        with suppress(OSError):
            print(f"fewshot: {line}", file=sys.stderr, flush=True)
    if rank:
        os._exit(status)  # at once, before torch warns of a process group that nobody has left in order
    raise SystemExit(told or status) from None


def _wait_for_the_first(status: int) -> None:
    """Leaves quietly if the process that started this one ends, or ends this one, before the time is up."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if os.getppid() != PARENT:
            os._exit(status)
        time.sleep(0.05)


def _status_of_another() -> int | None:
    """How a process that the Trainer started from this one has ended, if as :func:`_leave` ends it."""
    if "LOCAL_RANK" not in os.environ or not hasattr(os, "waitid"):
        return None
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    told = ended is not None and ended.si_code == os.CLD_EXITED and ended.si_status in (1, 2)
    return ended.si_status if told else None  # type: ignore[union-attr]
