"""``python -m benchmarks.soak``: attacks for so many minutes, counts, and says how to repeat what was lost."""

import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")  # before torch: what is forked may have no threads

from jsonargparse import auto_cli

import fewshot
from benchmarks.soak import arguments, damaged, hostile, stopped
from benchmarks.soak.case import Case, Lost
from fewshot.studies.tables import hardware, markdown

KINDS = {
    "kill": (stopped.kill, 12),
    "signals": (stopped.signals, 11),
    "moved": (stopped.moved, 3),
    "twice": (stopped.twice, 3),
    "disk": (stopped.disk, 3),
    "bytes": (damaged.damage, 20),
    "arguments": (arguments.arguments, 45),
    "checkpoints": (hostile.hostile, 3),
}
"""The kinds of attack, and each one's share of the time in percent."""

COLUMNS = ("kind", "attacks", "cases", "survived", "lost")


class Outcome(NamedTuple):
    """What became of a case.

    Attributes:
        kind: Of attack.
        number: Of the case.
        attacks: How many it was hit by.
        seconds: How long it took.
        lost: What did not survive, if anything.
    """

    kind: str
    number: int
    attacks: int
    seconds: float
    lost: str | None


def attack(home: Path, seed: int, kind: str, number: int, keep: bool = False) -> Outcome:
    """Runs one case; its folder is kept if anything was lost, or if told so."""
    started, lost = time.time(), None
    case = Case(home, seed, kind, number)
    try:
        KINDS[kind][0](case)
    except Lost as error:
        lost = str(error)
    except Exception as error:  # the soak's own mistake, or something that no one thought of
        lost = f"{type(error).__name__}: {error}"
    if lost is None and not keep:
        shutil.rmtree(case.folder, ignore_errors=True)
    return Outcome(kind, number, case.attacks, time.time() - started, lost)


def soak(home: Path, seed: int, kinds: list[str], until: float, workers: int) -> list[Outcome]:
    """Starts case after case, of the kind that has had least of its share of time."""
    spent, numbers = dict.fromkeys(kinds, 0.0), Counter[str]()
    outcomes: list[Outcome] = []
    running: set[Future[Outcome]] = set()
    with ProcessPoolExecutor(workers, get_context("fork")) as pool:
        while running or time.time() < until:
            while len(running) < workers and time.time() < until:
                kind = min(kinds, key=lambda kind: spent[kind] / KINDS[kind][1])
                spent[kind] += 1e-3  # the other worker takes another
                running.add(pool.submit(attack, home, seed, kind, numbers[kind]))
                numbers[kind] += 1
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for outcome in (future.result() for future in done):
                spent[outcome.kind] += outcome.seconds
                outcomes.append(outcome)
                tell(outcome, seed)
    return outcomes


def tell(outcome: Outcome, seed: int) -> None:
    """Says what was lost, and how to see it again."""
    if outcome.lost is not None:
        again = f"python -m benchmarks.soak --seed {seed} --only {outcome.kind}:{outcome.number}"
        print(f"LOST {outcome.kind} {outcome.number}: {outcome.lost}\n     again: {again}", flush=True)


def summary(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """A row per kind of attack."""
    rows = []
    for kind in KINDS:
        own = [outcome for outcome in outcomes if outcome.kind == kind]
        lost = sum(outcome.lost is not None for outcome in own)
        if own:
            counts = sum(outcome.attacks for outcome in own), len(own), len(own) - lost, lost
            rows.append(dict(zip(COLUMNS, (kind, *counts))))
    return rows


def main(
    minutes: float = 10.0,
    seed: int = 0,
    kinds: str = ",".join(KINDS),
    only: str | None = None,
    folder: Path | None = None,
    workers: int = 2,
) -> None:
    """Attacks fewshot's command line, and counts what survives.

    Args:
        minutes: For how long; cases that have begun are ended.
        seed: Of all that is drawn: a case is a function of the seed, its kind and its number.
        kinds: Kinds of attack, as in kill,signals.
        only: One case, as in kill:17; its folder is kept.
        folder: Where soak.json, soak.md and the folders of lost cases go; a temporary one if not given.
        workers: Processes.
    """
    chosen = [only.partition(":")[0]] if only else kinds.split(",")
    if unknown := [kind for kind in chosen if kind not in KINDS]:
        raise SystemExit(f"there are no attacks of kind {', '.join(unknown)}, but {', '.join(KINDS)}")
    home = (folder or Path(tempfile.mkdtemp(prefix="fewshot-soak-"))).resolve()
    home.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(home / "shared", ignore_errors=True)  # of an earlier soak, perhaps of another version
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    started = time.time()
    if only:
        outcomes = [attack(home, seed, chosen[0], int(only.partition(":")[2]), keep=True)]
        tell(outcomes[0], seed)
    else:
        outcomes = soak(home, seed, chosen, started + 60 * minutes, workers)
    rows = summary(outcomes)
    table = markdown(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    about = f"fewshot {fewshot.__version__}, seed {seed}, {(time.time() - started) / 60:.0f} minutes; {hardware()}"
    print(f"\n{table}\n{about}\nResults: {home}/: soak.json, soak.md, cases/")
    failures = [outcome._asdict() for outcome in outcomes if outcome.lost is not None]
    (home / "soak.json").write_text(json.dumps({"about": about, "rows": rows, "lost": failures}, indent=1) + "\n")
    (home / "soak.md").write_text(f"{about}\n\n{table}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
