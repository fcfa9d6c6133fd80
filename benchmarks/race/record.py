"""What is known of a contestant: the clock of its training, its validations, and the tests of its states."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fewshot.files import write_json

MARKS = (0.97, 0.98, 0.988)
"""Accuracies of 5-way 1-shot tasks to be reached."""

BEST = "best"
"""The state of the best validation, beside those that were the first to reach a mark."""


def name_of(mark: float) -> str:
    """A mark as it is called in records and tables: 97.0."""
    return f"{100 * mark:.1f}"


class Record:
    """Keeps a contestant's record in a file, from its start on.

    The clock runs from the start of the process: imports, reading the data and compilation count. Validation does not.

    Attributes:
        content: What the file holds: ``points``, a list of ``[training seconds, outer steps, validation accuracy]``;
            ``states``, by mark (and the best) its point and, once tested, ``test`` and ``ci95``; ``finished``.

    Args:
        file: The JSON file.
        started: When the process was started, as ``time.time()`` has it.
        **facts: What else to write down, such as the threads.
    """

    def __init__(self, file: Path, started: float, **facts: Any) -> None:
        self.file, self.started, self.stopped_for = file, started, 0.0
        self.content: dict[str, Any] = {**facts, "points": [], "states": {}, "finished": False}

    def seconds(self) -> float:
        """Seconds of training so far."""
        return time.time() - self.started - self.stopped_for

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stops the clock."""
        start = time.time()
        try:
            yield
        finally:
            self.stopped_for += time.time() - start

    def validated(self, seconds: float, steps: int, accuracy: float) -> list[str]:
        """Writes a validation down; returns which states the learner now is: marks reached first, and the best."""
        states, point = self.content["states"], [round(seconds, 2), steps, accuracy]
        self.content["points"].append(point)
        reached = [name_of(mark) for mark in MARKS if accuracy >= mark and name_of(mark) not in states]
        if BEST not in states or accuracy > states[BEST]["point"][2]:
            reached.append(BEST)
        states.update({name: {"point": point} for name in reached})
        self.write()
        return reached

    def tested(self, name: str, accuracy: float, ci95: float | None) -> None:
        """Writes the test of a state down."""
        self.content["states"][name].update(test=accuracy, ci95=ci95)
        self.write()

    def finish(self) -> None:
        """Writes down that nothing is missing."""
        self.content["finished"] = True
        self.write()

    def write(self) -> None:
        """Writes the file."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.file, self.content)


def read(file: Path) -> dict[str, Any] | None:
    """The content of a record; ``None`` if there is none."""
    return json.loads(file.read_text()) if file.exists() else None
