"""A contestant of another library: a process that trains it on fewshot's episodes and keeps its record.

``python -m benchmarks.race.peer NAME FILE STARTED MINUTES UNTIL STEPS EVERY``
"""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.race.record import Record, name_of
from fewshot.data import OmniglotDataModule
from fewshot.episodes import Episode
from fewshot.fast.allocator import keep_freed_memory
from fewshot.metrics import summarised

ROOT = Path(__file__).parents[2]
JUDGED: dict[str, Any] = {"test_ways": 5, "test_shots": 1, "test_queries": 5}
"""The validation and test episodes, the same for all contestants."""
TASKS = 8  # of an evaluation at a time


class Peer(Protocol):
    """A learner with the training of its library's example.

    Attributes:
        data: The training episodes, as options of the data module.
    """

    data: Mapping[str, int]

    def step(self, episode: Episode, progress: float) -> None:
        """Takes an outer step on a meta-batch, when a share of the training, 0 to 1, is done."""

    def predict(self, episode: Episode) -> Tensor:
        """Predicted labels of the queries ``[T, N*Q]``."""

    def state(self) -> Any:
        """A copy of what is learned."""

    def restore(self, state: Any) -> None:
        """Goes back to a state."""


MAKERS = {
    "learn2learn-maml": "benchmarks.race.with_learn2learn:MAML",
    "learn2learn-protonet": "benchmarks.race.with_learn2learn:ProtoNet",
    "easyfsl": "benchmarks.race.with_easyfsl:ProtoNet",
    "jax": "benchmarks.race.with_jax:MAML",
}


def maker(name: str) -> Callable[[], Peer]:
    """What makes a contestant.

    Raises:
        ImportError: If its library is not installed.
    """
    module, _, attribute = MAKERS[name].partition(":")
    return getattr(import_module(module), attribute)


class Episodes:
    """The episodes of all contestants: those of Omniglot's split ``random``, images 0 to 1."""

    def __init__(self, val_episodes: int = 200, test_episodes: int = 600, **training: Any) -> None:
        evaluation = {**JUDGED, "val_episodes": val_episodes, "test_episodes": test_episodes}
        self.data = OmniglotDataModule(split="random", **evaluation, **training)
        self.data.setup("fit")

    def meta_batch(self, split: str, first: int, count: int) -> Episode:
        """Some episodes of a split, from a number on."""
        tasks: Any = self.data.dataset(split, length=first + count)
        return self.data.on_after_batch_transfer(tasks.__getitems__(range(first, first + count)), 0)

    def scores(self, peer: Peer, split: str) -> Tensor:
        """The accuracy of each episode of an evaluation."""
        parts, episodes = [], self.data.episodes[split]
        for first in range(0, episodes, TASKS):
            episode = self.meta_batch(split, first, min(TASKS, episodes - first))
            parts.append((peer.predict(episode) == episode.query.y).float().mean(1))
        return torch.cat(parts)


def race(
    peer: Peer, episodes: Episodes, record: Record, minutes: float, until: float, steps: int | None, every: float
) -> None:
    """Trains a contestant, validates it every so many seconds of training, and tests its states.

    Args:
        peer: The contestant.
        episodes: Its episodes.
        record: Where it all goes.
        minutes: Limit of the training.
        until: Validation accuracy that ends it.
        steps: Outer steps after which it ends; if not given, only the limit ends it.
        every: Seconds of training between two validations.
    """
    size, done, states = episodes.data.meta_batch_size, 0, {}
    limit, due, progress, accuracy = 60 * minutes, every, 0.0, 0.0
    while progress < 1 and accuracy < until:  # at least one step
        peer.step(episodes.meta_batch("train", done * size, size), progress)
        done += 1
        seconds = record.seconds()
        progress = max(seconds / limit, done / steps if steps else 0.0)
        if seconds < due and progress < 1:
            continue
        with record.stopped():
            accuracy = episodes.scores(peer, "val").mean().item()
            states.update(dict.fromkeys(record.validated(seconds, done, accuracy), peer.state()))
        due = seconds + every
        print(f"{record.file.stem}: {seconds:.0f} s, {done} outer steps, {name_of(accuracy)} %", flush=True)
    for name, state in states.items():
        peer.restore(state)
        summary = summarised(episodes.scores(peer, "test"))
        record.tested(name, summary.mean, summary.ci95)
    record.finish()


def train(name: str, file: Path, minutes: float, until: float, steps: int | None, every: float) -> None:
    """Trains and tests a contestant in a process of its own; see :func:`race`."""
    words = [name, file.absolute(), time.time(), minutes, until, steps or 0, every]
    subprocess.run([sys.executable, "-m", "benchmarks.race.peer", *map(str, words)], check=True, cwd=ROOT)


def main(name: str, file: str, started: str, minutes: str, until: str, steps: str, every: str) -> None:
    """Is that process."""
    keep_freed_memory()  # for all contestants, as fewshot's command line does for itself
    torch.manual_seed(0)
    record = Record(Path(file), float(started), threads=torch.get_num_threads())
    peer = maker(name)()
    race(peer, Episodes(**peer.data), record, float(minutes), float(until), int(steps) or None, float(every))


if __name__ == "__main__":
    main(*sys.argv[1:])
