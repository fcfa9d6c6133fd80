"""``fewshot`` in a process forked from this one, which has imported it: a start takes no five seconds of imports.

This process must have no threads and must not have computed with torch: neither survives a fork.
"""

import atexit
import itertools
import os
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import fewshot.cli
import fewshot.runs  # noqa: F401 (imported once for all)

FILE_OPERATIONS = ("open", "os.rename", "os.remove", "os.mkdir", "os.link", "os.truncate")
"""What Python's audit hooks call the operations that change a folder; ``open`` if it is to write."""

PARTS = ("*.part", "*.tmp", "tmp*")
"""What half-written files are called."""


class Blow(NamedTuple):
    """Signals that a command gets while it runs.

    Attributes:
        signals: Their numbers, one after the other.
        seconds: After the start, or after the operation.
        operation: The number of the operation on files in ``folder`` that they come before; ``None``: by the clock.
        folder: Where operations are counted.
        pause: Seconds between two signals.
    """

    signals: tuple[int, ...]
    seconds: float = 0.0
    operation: int | None = None
    folder: Path = Path()
    pause: float = 0.0

    def arm(self) -> None:
        """Sees to it that this process gets them."""
        timer = threading.Timer(self.seconds, self.strike)
        timer.daemon = True
        if self.operation is None:
            timer.start()
            return
        at_once = not self.seconds and self.signals == (signal.SIGKILL,)  # exactly between two operations
        count = itertools.count(1)

        def hook(event: str, args: tuple[Any, ...]) -> None:
            if event in FILE_OPERATIONS and isinstance(args[0], str | os.PathLike) and self.folder in _parents(args[0]):
                reading = event == "open" and not args[2] & (os.O_WRONLY | os.O_RDWR)
                if not reading and next(count) == self.operation:
                    self.strike() if at_once else timer.start()

        sys.addaudithook(hook)

    def strike(self) -> None:
        """Sends them."""
        for number, one in enumerate(self.signals):
            time.sleep(self.pause if number else 0)
            os.kill(os.getpid(), one)


def _parents(path: str | os.PathLike[str]) -> Sequence[Path]:
    return Path(os.path.abspath(path)).parents


class Done(NamedTuple):
    """How a command ended: ``status`` is negative if a signal ended it, and ``None`` if it had to be stopped."""

    words: Sequence[str]
    status: int | None
    out: str
    err: str
    seconds: float


class Command:
    """A ``fewshot`` that was started.

    Args:
        words: The words after ``fewshot``.
        folder: The current folder of it; made if it is not there.
        record: Where its output goes, to ``<record>.out`` and ``<record>.err``.
        blow: What hits it.
        environment: Variables to change.
        before: What to do in its process first.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        record: Path,
        blow: Blow | None = None,
        environment: Mapping[str, str] | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        self.words, self.record, self.started = words, record, time.time()
        folder.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._stand_alone(folder, environment or {})
                if before is not None:
                    before()
                if blow is not None:
                    blow.arm()
            except BaseException:
                traceback.print_exc()
                os._exit(70)
            self._run()

    def _stand_alone(self, folder: Path, environment: Mapping[str, str]) -> None:
        """What a shell gives to a process that it starts."""
        os.setsid()
        os.chdir(folder)
        files = [os.open(os.devnull, os.O_RDONLY)]
        files += [os.open(f"{self.record}.{end}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for end in ("out", "err")]
        for standard, file in enumerate(files):
            os.dup2(file, standard)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.update(environment)
        sys.path[1:1] = filter(None, environment.get("PYTHONPATH", "").split(":"))
        sys.argv = ["fewshot", *self.words]

    def _run(self) -> NoReturn:
        """Ends as the interpreter would."""
        status: Any = 0
        try:
            runpy.run_module("fewshot", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            status = end.code or 0
        except KeyboardInterrupt:
            traceback.print_exc()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        except BaseException:
            traceback.print_exc()
            status = 1
        try:
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status if isinstance(status, int) else 1)

    def wait(self, limit: float) -> Done:
        """How it ended; after so many seconds it is stopped, with all that it started."""
        status = None
        while status is None and time.time() < self.started + limit:
            ended, code = os.waitpid(self.pid, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if ended else None
            time.sleep(0 if ended else 0.01)
        seconds = time.time() - self.started
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if status is None:
            os.waitpid(self.pid, 0)
        out, err = (Path(f"{self.record}.{end}").read_text(errors="replace") for end in ("out", "err"))
        return Done(self.words, status, out, err, seconds)
