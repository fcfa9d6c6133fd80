"""One case: what it draws, where it works, and what has to hold."""

import fcntl
import random
import shlex
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.soak.command import PARTS, Command, Done

LIMIT = 120.0
"""Seconds after which a command hangs: ten times what any needs on a busy machine."""


class Lost(Exception):  # noqa: N818
    """What did not survive."""


class Case:
    """One case: a pure function of the seed, its kind and its number.

    Attributes:
        random: What it draws from.
        folder: Its own, empty at first.
        attacks: How many there were: kills, damaged files, ...

    Args:
        home: The folder of the soak.
        seed: Of the soak.
        kind: Of attack.
        number: Which of them.
    """

    def __init__(self, home: Path, seed: int, kind: str, number: int) -> None:
        self.home, self.random, self.attacks, self.starts = home, random.Random(f"{seed} {kind} {number}"), 0, 0
        self.folder = home / "cases" / f"{kind}-{number}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def start(self, words: list[str], **options: Any) -> Command:
        """Starts ``fewshot``, in ``folder/here`` if not told otherwise; see :class:`Command`."""
        self.starts += 1
        return Command(words, options.pop("folder", self.folder / "here"), self.folder / str(self.starts), **options)

    def run(self, words: list[str], **options: Any) -> Done:
        """Runs ``fewshot``, and looks whether its end is one that it may have."""
        return self.ended(self.start(words, **options))

    def ended(self, command: Command) -> Done:
        """Waits for a command.

        Raises:
            Lost: If it hangs, shows a traceback, or has not exactly one line for a mistake.
        """
        done = command.wait(LIMIT)
        line = (done.err.strip().splitlines() or ["nothing on stderr"])[-1][:300]
        self.need(done.status is not None, f"hangs: not at its end after {LIMIT:.0f} s", done)
        self.need("Traceback" not in done.out + done.err, f"a traceback that ends in {line!r}", done)
        self.need(done.status in (0, 2) or done.status < 0 or done.status > 128, f"status {done.status}: {line}", done)  # type: ignore[operator]
        if done.status == 2:
            errors = [line for line in done.err.splitlines() if line.startswith("fewshot: error:")]
            self.need(len(errors) == 1 and line == errors[0][:300], f"not one line at the end, but {line!r}", done)
        return done

    def need(self, condition: object, what: str, done: Done | None = None) -> None:
        """Raises :class:`Lost` with what is wrong and the command that it is wrong with, if it is."""
        if not condition:
            command = f"; $ fewshot {shlex.join(word[:100] for word in done.words)}" if done else ""
            line = " ".join(what.split()) + command
            raise Lost(line.encode(errors="backslashreplace").decode())

    def need_success(self, done: Done) -> Done:
        """The same for a command that has no reason to fail."""
        self.need(done.status == 0, f"status {done.status}: {done.err.strip()[-300:]}", done)
        return done

    def need_no_parts(self, place: Path) -> None:
        """Nothing half-written is left."""
        left = [str(path.relative_to(place)) for part in PARTS for path in place.rglob(part)]
        self.need(not left, f"left half-written: {', '.join(left)}")

    def once(self, name: str, make: Callable[[Path], None]) -> Path:
        """A folder that all cases share, filled by the first that asks for it."""
        place = self.home / "shared" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place.with_name(f"{name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                making = place.with_name(f"{name}.making")
                with suppress(FileNotFoundError):
                    shutil.rmtree(making)
                making.mkdir()
                make(making)
                making.rename(place)
        return place
